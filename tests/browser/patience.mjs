// The server is away for longer than a page is held: Bob, who came meanwhile, is let in when it is back.
import { tell } from "./support.mjs";

const BOB = /^bob@xmpp\.localhost\//;

await tell("patience", async ({ visitor, step, wish }) => {
  const bob = await visitor("bob");
  await bob.signIn("bob");
  await wish("the server is down");
  const heldAgain = bob.isSentOn("/prebind?held=3");
  await bob.beginChat();
  await heldAgain;
  step("Bob's page was held three times in vain");

  await wish("the server is up");
  await bob.connected(BOB);
  await bob.say(`after all (${process.pid})`);
  step("the server came up, and Bob is in the lobby");
});
