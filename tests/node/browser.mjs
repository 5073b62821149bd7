// What a browser does of itself and a client in Node does not: cookies, and the page's origin.
import WebSocket from "ws";

const PASSWORD = (username) => `${username}-demo`;

/** A browser on a page of this site; `signsIn` by the site's form, or a guest. Its class of WebSockets shows its cookies. */
export function browser(address) {
  const cookies = new Map();
  const wire = [];
  const { origin } = new URL(address);
  const keep = (set) => {
    for (const cookie of [set ?? []].flat()) {
      const [name, ...value] = cookie.split(";")[0].split("=");
      cookies.set(name, value.join("="));
    }
  };
  return {
    /** What was said on its WebSockets, of either side. */
    wire,
    url: `${address.replace(/^http/, "ws")}/xmpp-websocket`,
    async signsIn(username) {
      const body = new URLSearchParams({ username, password: PASSWORD(username) });
      const answer = await fetch(`${address}/login`, { method: "POST", body, redirect: "manual" });
      keep(answer.headers.getSetCookie());
    },
    WebSocket: class extends WebSocket {
      constructor(url, protocols) {
        const Cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
        // Each message is a task of its own, as in a browser: what a client does behind a promise is done before the next.
        super(url, protocols, { headers: { Origin: origin, ...(Cookie && { Cookie }) }, allowSynchronousEvents: false });
        // In a browser an error that nobody listens for ends nothing.
        this.on("error", () => {});
        this.on("message", (text) => wire.push(`< ${text}`));
        this.on("close", (code) => wire.push(`closed: ${code}`));
        this.on("upgrade", ({ headers }) => keep(headers["set-cookie"]));
      }
      send(text, ...more) {
        wire.push(`> ${text}`);
        super.send(text, ...more);
      }
    },
  };
}

/** Whom the page takes its visitor for before he has signed in: a guest's name only the edge knows. */
export const NAMED = { member: "bob@xmpp.localhost", guest: "somebody@guest.localhost", anonymous: "somebody@anon.localhost" };
