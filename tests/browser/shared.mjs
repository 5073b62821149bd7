// The chat shares the page's connection (RFC 8441), also where the page is loaded anew.
import { expect, tell } from "./support.mjs";

const BOB = /^bob@xmpp\.localhost\//;

await tell("shared", async ({ visitor, step, wish }) => {
  const bob = await visitor("bob");
  await bob.signIn("bob");
  const jid = await bob.openChat(BOB);
  await wish("one connection carries one chat over HTTP/2");
  step("page and chat are on one connection");

  for (const round of [1, 2, 3]) {
    expect((await bob.reload(BOB)) === jid, "Bob is who he was after a reload");
    await bob.hears("<resumed");
    await bob.say(`after reload ${round} (${process.pid})`);
  }
  await wish("one connection carries one chat over HTTP/2");
  step("they still are where the page was loaded anew");

  const tab = await bob.anotherTab();
  await tab.openChat(BOB);
  await tab.say(`from another tab (${process.pid})`);
  await bob.sees(`from another tab (${process.pid})`);
  await wish("one connection carries two chats over HTTP/2");
  step("another tab of the same browser is there as well");
  await tab.close();

  // Without a page's connection at hand Chromium makes one for the chat alone, by HTTP/1.1.
  await bob.parts(() => wish("the proxy restarts"));
  expect((await bob.connected(BOB)) === jid, "Bob is who he was after a restart");
  await wish("a connection of its own carries one chat");
  expect((await bob.reload(BOB)) === jid, "Bob is who he was on the page's connection again");
  await wish("one connection carries one chat over HTTP/2");
  step("a chat that comes back by itself has a connection of its own, until a page is loaded");
});
