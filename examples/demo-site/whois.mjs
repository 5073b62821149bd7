// The site's answer to "who is it that shows this cookie?": all that a site must have for Vestibule (see README.md, "For CMS authors").
import { same } from "./members.mjs";
import { LIFETIME_MS } from "./sessions.mjs";

/**
 * Answers one question of Vestibule's.
 *
 * The bearer secret says that it is Vestibule who asks; the site's own session says who it is about. Nothing else in the
 * request is believed.
 */
export function whois(request, sessions, secret) {
  const [, given] = /^Bearer (.*)$/i.exec(request.headers.authorization ?? "") ?? [];
  if (given === undefined || !same(secret, given)) {
    return { status: 401, headers: { "WWW-Authenticate": "Bearer" }, answer: { error: "the bearer secret is not right" } };
  }
  return { status: 200, headers: {}, answer: describe(sessions.of(request)) };
}

function describe(session) {
  if (!session?.member) return { authenticated: false };
  const { username, nick, groups } = session.member;
  // The session's name here is not the cookie's value: it may stand in a log, the cookie may not.
  return { authenticated: true, username, nick, groups, session_id: session.id, expires_in: LIFETIME_MS / 1000 };
}
