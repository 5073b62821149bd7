// strophe.js 5 by WebSocket as Bob: it signs in with its own EXTERNAL, joins the lobby, reads what it says there, and leaves.
import { $msg, $pres, Strophe } from "strophe.js";
import { awaited, BrowserWebSocket, expectBob, ROOM, step, tell, urls } from "./support.mjs";

// strophe.js sets this to the class of the package ws when it is loaded.
globalThis.WebSocket = BrowserWebSocket;

// What the third argument asks for.
const expected = process.argv[4];
const NICK = "Bob with strophe";
const NS_MUC_USER = "http://jabber.org/protocol/muc#user";

await tell("strophe.js by WebSocket", async ({ wire }) => {
  const connection = new Strophe.Connection(urls.websocket);
  connection.rawInput = (data) => wire.push(`incoming: ${data}`);
  connection.rawOutput = (data) => wire.push(`outgoing: ${data}`);

  await awaited("the sign-in", (resolve, reject) => {
    connection.connect("bob@xmpp.localhost", "", (status, reason) => {
      if (status === Strophe.Status.CONNECTED) resolve();
      if ([Strophe.Status.AUTHFAIL, Strophe.Status.CONNFAIL, Strophe.Status.DISCONNECTED].includes(status)) reject(reason ?? `status ${status}`);
    });
  });
  expectBob(connection.jid);
  const { extensions } = connection._proto.socket;
  if (expected === "compressed" && !extensions.includes("permessage-deflate")) throw new Error(`nothing was agreed on: ${extensions}`);
  step(`signed in as ${connection.jid}`);

  const room = `${ROOM}/${NICK}`;
  await awaited("the room", (resolve, reject) => {
    connection.addHandler((presence) => {
      if (presence.getAttribute("type") === "error") reject(Strophe.serialize(presence));
      else if (isOurs(presence)) resolve();
      return true;
    }, null, "presence");
    connection.send($pres({ to: room }).c("x", { xmlns: "http://jabber.org/protocol/muc" }));
  });
  step(`in ${ROOM}`);

  const text = `strophe.js & <all> ${process.pid}`;
  await awaited("its own message", (resolve) => {
    connection.addHandler((message) => {
      if (message.getElementsByTagName("body")[0]?.textContent === text && message.getAttribute("from") === room) resolve();
      return true;
    }, null, "message", "groupchat");
    connection.send($msg({ to: ROOM, type: "groupchat" }).c("body").t(text));
  });
  step("its message came back from the room");

  await awaited("leaving", (resolve) => {
    connection.addHandler((presence) => {
      if (isOurs(presence)) resolve();
    }, null, "presence", "unavailable");
    connection.send($pres({ to: room, type: "unavailable" }));
  });
  await awaited("the end", (resolve) => {
    connection.connect_callback = (status) => status === Strophe.Status.DISCONNECTED && resolve();
    connection.disconnect("done");
  });
  step("left the room and disconnected");
});

/** Whether a presence of the room is about ourselves (status 110, XEP-0045 §7.2.2). */
function isOurs(presence) {
  return [...presence.getElementsByTagName("x")]
    .filter((x) => x.getAttribute("xmlns") === NS_MUC_USER)
    .some((x) => [...x.getElementsByTagName("status")].some((status) => status.getAttribute("code") === "110"));
}
