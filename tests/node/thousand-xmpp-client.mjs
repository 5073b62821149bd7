// @xmpp/client 0.14 with its own stream management, and an EXTERNAL that is registered here. Over a page load it keeps nothing of
// itself: here the page keeps what the plugin has (its id, its counts and what is not acknowledged).
import { client, jid as parsed, xml } from "@xmpp/client";
import { browser, NAMED } from "./browser.mjs";
import { ADDRESS, ROOM, tellThousand, until } from "./thousand.mjs";

const who = process.argv[5];
const KEPT = ["id", "inbound", "outbound", "outbound_q", "max"];

/** EXTERNAL (RFC 4422 appendix A), which it does not have itself. */
class External {
  response() {
    return NAMED[who];
  }
  challenge() {}
}
External.prototype.name = "EXTERNAL";
External.prototype.clientFirst = true;

class Visitor {
  #url;
  #client;
  #heard = [];
  #wire;
  #times = 0;
  #jid;
  isInTheRoom = false;

  constructor({ url, wire }) {
    this.#url = url;
    this.#wire = wire;
  }

  /** With what the page before has kept. */
  loadsThePage(kept = {}) {
    const page = client({ service: this.#url, domain: NAMED[who].split("@")[1], username: "bob", credentials: (authenticate) => authenticate({}, "EXTERNAL") });
    page.saslFactory.use(External);
    page.reconnect.delay = 50;
    Object.assign(page.streamManagement, kept);
    if (this.#jid) page.jid = parsed(this.#jid);
    const isOpen = () => page === this.#client;
    page.on("error", (error) => this.#wire.push(`error: ${error}`));
    page.on("stanza", (stanza) => isOpen() && this.#hears(stanza));
    page.on("online", (jid) => isOpen() && this.#begins(jid.toString()));
    page.streamManagement.on("resumed", () => isOpen() && (this.#times += 1));
    this.#client = page;
    page.start().catch((error) => this.#wire.push(`start: ${error}`));
  }

  #hears(stanza) {
    const body = stanza.is("message") && stanza.attrs.type !== "error" && stanza.getChildText("body");
    if (body) this.#heard.push(body);
    if (stanza.is("presence") && stanza.attrs.from.startsWith(ROOM)) this.isInTheRoom = true;
  }

  /** Behind a resumption it is online without a new name, and tells that too. */
  async #begins(jid) {
    const isNew = jid !== this.#jid;
    this.#jid = jid;
    if (!isNew) return;
    this.#times += 1;
    await this.#client.send(xml("presence"));
    await this.#client.send(xml("presence", { to: `${ROOM}/Visitor` }, xml("x", "http://jabber.org/protocol/muc")));
  }

  jid() {
    return this.#jid;
  }

  isThere() {
    return this.#client.status === "online" && this.#client.streamManagement.enabled;
  }

  say(body, to) {
    return this.#client.send(xml("message", { to: to ?? ROOM, type: to ? "chat" : "groupchat" }, xml("body", {}, body))).catch(() => {});
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
    const page = this.#client;
    const kept = Object.fromEntries(KEPT.map((name) => [name, page.streamManagement[name]]));
    page.reconnect.stop();
    this.losesItsSocket();
    this.loadsThePage(kept);
  }

  losesItsSocket() {
    this.#client.socket?.socket.terminate();
  }
}

await tellThousand("@xmpp/client 0.14", async () => {
  const site = browser(ADDRESS);
  if (who === "member") await site.signsIn("bob");
  globalThis.WebSocket = site.WebSocket;
  const visitor = new Visitor(site);
  visitor.loadsThePage();
  await until(() => visitor.isThere() && visitor.isInTheRoom, "the visitor is in the room");
  return visitor;
});
