// A page of the site with the site's own WebSocket and one for XMPP: both work, side by side, and with other pages.
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { expect, tell } from "./support.mjs";

const port = Number(process.argv[5]);
const site = createServer((request, response) => response.writeHead(200, { "content-type": "text/html" }).end(`<h1>${request.url}</h1>`));
const asked = [];
new WebSocketServer({ server: site, path: "/echo", perMessageDeflate: true }).on("connection", (socket, request) => {
  asked.push(request.headers);
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
});
await new Promise((resolve) => site.listen(port, "127.0.0.1", resolve));

await tell("own_websocket", async ({ visitor, step, wish, address }) => {
  const alice = await visitor("alice");
  await alice.opens("/");
  const heard = await alice.does(talk);
  expect(heard.echoes.every(Boolean), `each echo is what was said, not ${heard.echoes}`);
  expect(heard.features.includes("EXTERNAL"), `the chat offers EXTERNAL, not ${heard.features}`);
  expect(heard.extensions.startsWith("permessage-deflate"), `the site compresses, not "${heard.extensions}"`);
  expect(heard.page === "<h1>/another</h1>", `another page comes meanwhile, not ${heard.page}`);
  expect(asked[0].host === new URL(address).host, `the site is asked by its name, not ${asked[0].host}`);
  step("the site's own WebSocket echoes, and the chat answers");

  await wish("one connection carries it all");
  expect(await alice.does(refused), "a WebSocket that the site does not have fails");
  expect(await alice.does(closed), "the site's own WebSocket is closed as it should be");
  step("all of it was on one connection");
});

/** In the page: opens both, and says much and little on the first. */
async function talk() {
  const until = (target, event) => new Promise((resolve) => target.addEventListener(event, resolve, { once: true }));
  const own = (globalThis.own = new WebSocket(`wss://${location.host}/echo`));
  const chat = (globalThis.chat = new WebSocket(`wss://${location.host}/xmpp-websocket`, "xmpp"));
  await Promise.all([until(own, "open"), until(chat, "open")]);
  const answers = [];
  chat.addEventListener("message", ({ data }) => answers.push(data));
  chat.send("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='xmpp.localhost' version='1.0'/>");
  const echoes = [];
  for (const length of [1, 1000, 300_000, 2_000_000]) {
    const text = "x".repeat(length - 1) + "!";
    const echo = until(own, "message");
    own.send(text);
    echoes.push((await echo).data === text);
  }
  const page = await (await fetch("/another")).text();
  while (answers.length < 2) await until(chat, "message");
  return { echoes, features: answers[1], extensions: own.extensions, page };
}

/** In the page: whether a WebSocket for which the site has no place fails. */
async function refused() {
  const none = new WebSocket(`wss://${location.host}/nothing`);
  return new Promise((resolve) => {
    none.addEventListener("error", () => resolve(true));
    none.addEventListener("open", () => resolve(false));
  });
}

/** In the page: whether the site's own WebSocket ends with the code that was asked for. */
async function closed() {
  const end = new Promise((resolve) => globalThis.own.addEventListener("close", resolve));
  globalThis.own.close(4001, "enough");
  const { code, wasClean } = await end;
  return code === 4001 && wasClean;
}
