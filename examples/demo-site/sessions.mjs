// The sessions of the demo site: in memory, one per browser, found by a cookie.
import { randomBytes } from "node:crypto";

/** PHP's name, so that the demo shows what a site in PHP does. */
export const COOKIE = "PHPSESSID";
/** How long a session lives that nobody uses. */
export const LIFETIME_MS = 30 * 60 * 1000;
/** At the bound the session that was longest unused makes room. */
const MOST = 1000;

export class Sessions {
  #byCookie = new Map();

  /** The session that the request's cookie names, or undefined. Being asked for keeps a session alive. */
  of(request) {
    const value = cookieOf(request);
    const session = this.#byCookie.get(value);
    if (!session) return undefined;
    this.#byCookie.delete(value);
    if (session.usedAt + LIFETIME_MS < Date.now()) return undefined;
    session.usedAt = Date.now();
    this.#byCookie.set(value, session);
    return session;
  }

  /**
   * A new session, of nobody yet.
   *
   * Login and logout set and clear `member` and leave the cookie's value alone, as PHP does without session_regenerate_id():
   * who looks at the cookie alone cannot see that anything happened. (A real site should change it at login.)
   */
  begin() {
    for (const oldest of this.#byCookie.keys()) {
      if (this.#byCookie.size < MOST) break;
      this.#byCookie.delete(oldest);
    }
    const session = { cookie: randomBytes(16).toString("hex"), id: randomBytes(8).toString("hex"), member: undefined, usedAt: Date.now() };
    this.#byCookie.set(session.cookie, session);
    return session;
  }
}

function cookieOf(request) {
  for (const pair of (request.headers.cookie ?? "").split(";")) {
    const [name, value] = pair.trim().split("=", 2);
    if (name === COOKIE) return value;
  }
  return undefined;
}
