// Bob and Alice reload the page in the middle of their talk, and the talk goes on.
import { expect, tell } from "./support.mjs";

await tell("reload", async ({ visitor, step }) => {
  const bob = await visitor("bob");
  await bob.signIn("bob");
  const bobJid = await bob.openChat();
  const alice = await visitor("alice");
  const aliceJid = await alice.openChat();
  await bob.say(`before (${process.pid})`);
  await alice.sees(`before (${process.pid})`);
  step(`${bobJid} and ${aliceJid} talk`);

  for (const round of [1, 2]) {
    const bobAgain = await bob.reload();
    expect(bobAgain === bobJid, `Bob is ${bobJid} after a reload, not ${bobAgain}`);
    const aliceAgain = await alice.reload();
    expect(aliceAgain === aliceJid, `Alice is ${aliceJid} after a reload, not ${aliceAgain}`);
    step(`after reload ${round} both are who they were`);

    await bob.say(`Bob after reload ${round} (${process.pid})`);
    await alice.sees(`Bob after reload ${round} (${process.pid})`);
    await alice.say(`Alice after reload ${round} (${process.pid})`);
    await bob.sees(`Alice after reload ${round} (${process.pid})`);
    step(`after reload ${round} each sees what the other says`);
  }
  await bob.screenshot("reloaded");
});
