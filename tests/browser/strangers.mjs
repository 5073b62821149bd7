// The same page on another origin gets nothing, though the visitor's browser is signed in at the site.
import { expect, tell } from "./support.mjs";

const BOB = /^bob@xmpp\.localhost\//;

await tell("strangers", async ({ visitor, step }) => {
  const bob = await visitor("bob");
  await bob.signIn("bob");
  await bob.openChatFrom("https://evil.test");
  expect(bob.heard().length === 0, `a page of evil.test hears nothing, not ${bob.heard()}`);
  step("the page of evil.test was refused and heard nothing");

  await bob.openChat(BOB);
  await bob.say(`at home (${process.pid})`);
  step("the site's own page, in the same browser, is let in");
});
