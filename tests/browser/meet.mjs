// Bob, who signed in at the site, and Alice, who did not, meet in the lobby and read each other.
import { expect, tell } from "./support.mjs";

await tell("meet", async ({ visitor, step }) => {
  const bob = await visitor("bob");
  await bob.signIn("bob");
  step("Bob has signed in at the site");
  const bobJid = await bob.openChat();
  expect(bobJid === "bob@xmpp.localhost", `Bob is bob@xmpp.localhost, not ${bobJid}`);
  step(`Bob is in the lobby as ${bobJid}`);

  const alice = await visitor("alice");
  const aliceJid = await alice.openChat();
  expect(/^guest-[0-9a-f]{20}@guest\.localhost$/.test(aliceJid), `Alice is a guest of guest.localhost, not ${aliceJid}`);
  step(`Alice is in the lobby as ${aliceJid}`);

  const greeting = `Good evening, Alice & <all> (${process.pid})`;
  await bob.say(greeting);
  await alice.sees(greeting);
  step("Alice sees what Bob says");
  const answer = `Good evening, Bob! “Schön” 🙂 (${process.pid})`;
  await alice.say(answer);
  await bob.sees(answer);
  step("Bob sees what Alice says");

  await bob.screenshot("talks");
  await alice.screenshot("talks");
});
