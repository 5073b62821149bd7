// Who may sign in at the demo site. A real site has a database; the passwords are printed on its front page on purpose.
import { createHash, timingSafeEqual } from "node:crypto";

export const members = new Map([
  ["bob", { username: "bob", nick: "Bob", groups: ["Registered"], password: "bob-demo" }],
  ["charlie", { username: "charlie", nick: "Charlie", groups: ["Registered"], password: "charlie-demo" }],
  // "admin" is also the name of an administrator of the XMPP server: Vestibule must never sign him in by his name alone.
  ["admin", { username: "admin", nick: "The admin", groups: ["Registered", "Admins"], password: "admin-demo" }],
]);

/** The member with this name and password, or undefined. */
export function authenticate(username, password) {
  const member = members.get(username.toLowerCase());
  return member && same(member.password, password) ? member : undefined;
}

/** Compares without telling by its duration where the two differ. */
export function same(expected, given) {
  return timingSafeEqual(digest(expected), digest(given));
}

function digest(text) {
  return createHash("sha256").update(text).digest();
}
