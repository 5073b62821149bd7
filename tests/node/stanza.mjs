// stanza 12 as Bob: it signs in with its own EXTERNAL, joins the lobby, reads what it says there, and leaves.
import { createRequire } from "node:module";
import { awaited, browserFetch, BrowserWebSocket, expectBob, ROOM, step, tell, urls } from "./support.mjs";

const require = createRequire(import.meta.url);
// stanza takes its WebSocket and fetch from here at each use; nothing else of it is changed.
const platform = require("stanza/platform/node");
platform.WebSocket = BrowserWebSocket;
platform.fetch = browserFetch;
const { createClient } = require("stanza");

const NICK = "Bob with stanza";

/** The story, by `transport`: "websocket" or "bosh". */
export function stanza(transport) {
  return tell(`stanza by ${transport}`, async ({ wire }) => {
    const client = createClient({
      jid: "bob@xmpp.localhost",
      transports: { websocket: false, bosh: false, [transport]: urls[transport] },
      autoReconnect: false,
    });
    client.on("raw", (direction, data) => wire.push(`${direction}: ${data}`));

    await awaited("the sign-in", (resolve, reject) => {
      client.once("session:started", resolve);
      client.once("auth:failed", () => reject("SASL failed"));
      client.once("disconnected", () => reject("the connection ended"));
      client.connect();
    });
    expectBob(client.jid);
    step(`signed in as ${client.jid}`);

    await awaited("the room", (resolve, reject) => {
      client.joinRoom(ROOM, NICK).then(resolve, (presence) => reject(JSON.stringify(presence.error)));
    });
    step(`in ${ROOM}`);

    const text = `stanza by ${transport} & <all> ${process.pid}`;
    await awaited("its own message", (resolve) => {
      client.on("groupchat", (message) => message.body === text && message.from === `${ROOM}/${NICK}` && resolve());
      client.sendMessage({ to: ROOM, type: "groupchat", body: text });
    });
    step("its message came back from the room");

    await awaited("the end", (resolve) => {
      // Not "disconnected": by BOSH stanza 12 does not say that after an answered terminate, straight on Prosody neither.
      client.once("stream:end", resolve);
      client.once("muc:leave", () => client.disconnect());
      client.leaveRoom(ROOM, NICK);
    });
    step("left the room and disconnected");
  });
}
