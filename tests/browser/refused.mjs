// The site has no guests: who is not signed in there sees that he is not connected, and once he is, a reload lets him in.
import { expect, tell } from "./support.mjs";

const BOB = /^bob@xmpp\.localhost\//;

await tell("refused", async ({ visitor, step, transport }) => {
  const bob = await visitor("bob");
  await bob.beginChat();
  await bob.isTold(transport === "prebind" ? "403" : "<not-authorized");
  await bob.shows("Not connected");
  await bob.screenshot("refused");
  step("a visitor whom the site does not know sees that he is not connected");

  const other = await bob.anotherTab();
  await other.signIn("bob");
  expect((await bob.reload(BOB)) === "bob@xmpp.localhost", "a reload lets Bob in");
  await bob.say(`signed in after all (${process.pid})`);
  step("signed in at the site, he reloads the page and is in the lobby");
});
