// strophe.js 5 with its own stream management. A page load is a new connection that finds what the tab has stored.
import { $msg, $pres, Strophe } from "strophe.js";
import { browser, NAMED } from "./browser.mjs";
import { ADDRESS, ROOM, tellThousand, until } from "./thousand.mjs";

const who = process.argv[5];
const { Status } = Strophe;
/** How long the page waits before it tries again. */
const AGAIN_MS = 50;

class Visitor {
  #url;
  #connection;
  #heard = [];
  #wire;
  /** How often a stream has stood. */
  #times = 0;
  #again;
  #jid;
  isInTheRoom = false;
  /** The tab's own storage. */
  #stored = new Map();

  constructor({ url, wire }) {
    this.#url = url;
    this.#wire = wire;
  }

  loadsThePage() {
    const storage = {
      load: (key) => JSON.parse(this.#stored.get(key) ?? "null"),
      // What still arrives for a page that is gone, nobody counts.
      save: (key, state) => connection === this.#connection && this.#stored.set(key, JSON.stringify(state)),
      clear: (key) => this.#stored.delete(key),
    };
    const connection = new Strophe.Connection(this.#url, { enableStreamManagement: true, streamManagement: { storage } });
    this.#connection = connection;
    this.#connects();
  }

  #connects() {
    const connection = this.#connection;
    connection.reset();
    connection.connect(NAMED[who], "", (status) => {
      // A page that is gone does nothing.
      if (connection !== this.#connection) return;
      this.#wire.push(`status ${status}`);
      if (status === Status.CONNECTED) this.#begins();
      if (status !== Status.DISCONNECTED) return;
      // It may say so twice.
      clearTimeout(this.#again);
      this.#again = setTimeout(() => connection === this.#connection && this.#connects(), AGAIN_MS);
    });
  }

  #begins() {
    const connection = this.#connection;
    this.#times += 1;
    // While it signs in, the connection has another: the one that the page names.
    this.#jid = connection.jid;
    connection.addHandler((message) => {
      const isError = message.getAttribute("type") === "error";
      const body = message.getElementsByTagName("body")[0]?.textContent;
      if (connection === this.#connection && body && !isError) this.#heard.push(body);
      return true;
    }, null, "message");
    if (connection.hasResumed()) return;
    connection.addHandler((presence) => {
      if (presence.getAttribute("from").startsWith(ROOM)) this.isInTheRoom = true;
      return true;
    }, null, "presence");
    connection.send($pres());
    connection.send($pres({ to: `${ROOM}/Visitor` }).c("x", { xmlns: "http://jabber.org/protocol/muc" }));
  }

  jid() {
    return this.#jid;
  }

  isThere() {
    return this.#connection.connected && this.#connection.authenticated;
  }

  say(body, to) {
    this.#connection.send($msg({ to: to ?? ROOM, type: to ? "chat" : "groupchat" }).c("body").t(body));
    this.#connection.flush();
  }

  heard() {
    return this.#heard;
  }

  wire() {
    return this.#wire;
  }

  times() {
    return this.#times;
  }

  reloads() {
    this.losesItsSocket();
    this.loadsThePage();
  }

  losesItsSocket() {
    this.#connection._proto.socket?.terminate();
  }
}

await tellThousand("strophe.js 5", async () => {
  const site = browser(ADDRESS);
  if (who === "member") await site.signsIn("bob");
  globalThis.WebSocket = site.WebSocket;
  const visitor = new Visitor(site);
  visitor.loadsThePage();
  await until(() => visitor.isThere() && visitor.isInTheRoom, "the visitor is in the room");
  return visitor;
});
