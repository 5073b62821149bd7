// @xmpp/client 0.14 by WebSocket as Bob: it signs in with an EXTERNAL that is registered here, joins the lobby, reads what it says
// there, loses its connection, resumes its stream (XEP-0198), reads on, and leaves.
import { client, xml } from "@xmpp/client";
import { awaited, BrowserWebSocket, expectBob, ROOM, step, tell, urls } from "./support.mjs";

globalThis.WebSocket = BrowserWebSocket;

const NICK = "Bob with xmpp.js";

/** EXTERNAL (RFC 4422 appendix A), which it does not have itself. */
class External {
  response() {
    return "bob@xmpp.localhost";
  }
  challenge() {}
}
External.prototype.name = "EXTERNAL";
External.prototype.clientFirst = true;

await tell("@xmpp/client by WebSocket", async ({ wire }) => {
  const bob = client({
    service: urls.websocket,
    domain: "xmpp.localhost",
    username: "bob",
    credentials: (authenticate) => authenticate({}, "EXTERNAL"),
  });
  bob.saslFactory.use(External);
  bob.on("input", (data) => wire.push(`incoming: ${data}`));
  bob.on("output", (data) => wire.push(`outgoing: ${data}`));
  bob.on("error", (error) => wire.push(`error: ${error}`));

  const jid = await bob.start();
  expectBob(jid.toString());
  step(`signed in as ${jid}`);

  const room = `${ROOM}/${NICK}`;
  const of = (name, test) => (resolve) =>
    bob.on("stanza", (stanza) => stanza.is(name) && stanza.attrs.from === room && test(stanza) && resolve());
  const joined = awaited("the room", of("presence", (presence) => presence.attrs.type !== "error"));
  await bob.send(xml("presence", { to: room }, xml("x", "http://jabber.org/protocol/muc")));
  await joined;
  step(`in ${ROOM}`);

  const says = async (text) => {
    const heard = awaited(text, of("message", (message) => message.getChildText("body") === text));
    await bob.send(xml("message", { to: ROOM, type: "groupchat" }, xml("body", {}, text)));
    await heard;
  };
  await says(`xmpp.js & <all> ${process.pid}`);
  step("its message came back from the room");

  const resumed = awaited("the stream that goes on", (resolve) => bob.streamManagement.once("resumed", resolve));
  bob.socket.socket.terminate();
  await resumed;
  await says(`resumed ${process.pid}`);
  step("the stream went on over another connection, still in the room");

  await bob.stop();
  step("disconnected");
});
