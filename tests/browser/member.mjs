// A member of the site in Node, by stanza 12 and BOSH: who talks with the visitors of a story, and counts what he hears.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const ROOM = "lobby@conference.localhost";
const PATIENCE_MS = 60_000;

/** Signs `username` in at the site, by its form; the headers of his browser. */
async function signIn(address, username) {
  const body = new URLSearchParams({ username, password: `${username}-demo` });
  const answer = await fetch(`${address}/login`, { method: "POST", body, redirect: "manual" });
  return { Cookie: answer.headers.get("set-cookie").split(";")[0], Origin: new URL(address).origin };
}

/** A member in the lobby: `heard` has the texts he heard there, `say(text)` says one, `leave()` ends his session. */
export async function member(address, username, nick) {
  const headers = await signIn(address, username);
  // stanza takes its fetch from here at each use; nothing else of it is changed.
  require("stanza/platform/node").fetch = (url, options = {}) => fetch(url, { ...options, headers: { ...options.headers, ...headers } });
  const { createClient } = require("stanza");
  const client = createClient({
    jid: `${username}@xmpp.localhost`,
    transports: { websocket: false, bosh: `${address}/http-bind` },
    autoReconnect: false,
  });
  const heard = [];
  const partings = [];
  client.on("groupchat", (message) => message.body && !message.delay && heard.push(message.body));
  client.on("disconnected", () => partings.push("disconnected"));
  await new Promise((resolve, reject) => {
    client.once("session:started", resolve);
    client.once("auth:failed", () => reject(new Error(`${username} is not let in`)));
    client.connect();
  });
  await client.joinRoom(ROOM, nick);
  return {
    heard,
    partings,
    say: (text) => client.sendMessage({ to: ROOM, type: "groupchat", body: text }),
    leave: () => client.disconnect(),
    /** Waits until all of these were heard, or for long enough. */
    async hears(texts) {
      const until = Date.now() + PATIENCE_MS;
      while (!texts.every((text) => heard.includes(text)) && Date.now() < until) await pause(50);
    },
  };
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
