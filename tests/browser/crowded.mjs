// There is one place for Bob: his second tab is refused until the first is closed, and then comes in by itself.
import { tell } from "./support.mjs";

const BOB = /^bob@xmpp\.localhost\//;

await tell("crowded", async ({ visitor, step, transport }) => {
  const bob = await visitor("bob");
  await bob.signIn("bob");
  await bob.openChat(BOB);
  const second = await bob.anotherTab();
  // Converse.js asks /prebind only once, so that page is held, and sent on to be held again.
  const refused = transport === "prebind" ? second.isSentOn("/prebind?held=1") : second.isRefused(429);
  await second.beginChat();
  await refused;
  step("the second tab was refused");

  await bob.close();
  await second.connected(BOB);
  await second.say(`in the second tab (${process.pid})`);
  step("the first tab was closed, and the second is in the lobby");
});
