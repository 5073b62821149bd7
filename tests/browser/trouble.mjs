// The network stands still for 20 s, the server's connections break, and the server restarts: Bob, by Converse.js, and Charlie, by
// stanza, hear each word once. Where the server manages streams (XEP-0198), nobody notices the second.
import { member, pause } from "./member.mjs";
import { expect, expectEach, tally, tell } from "./support.mjs";

const BOB = /^bob@xmpp\.localhost\//;
const CUT_MS = 20_000;
const isManaged = process.argv[5] !== "unmanaged";

await tell("trouble", async ({ visitor, step, wish, address }) => {
  const bob = await visitor("bob");
  await bob.signIn("bob");
  await bob.openChat(BOB);
  let charlie = await member(address, "charlie", "Charlie in Node");
  const first = await bob.resource();
  const texts = (who, what) => Array.from({ length: 10 }, (_, number) => `${who} ${what} ${number} (${process.pid})`);
  step("Bob and Charlie are in the lobby");

  const [before, into] = [texts("Charlie", "before"), texts("Bob", "into the silence")];
  before.forEach(charlie.say);
  await wish("the network stands still");
  await bob.saysAll(into);
  await pause(CUT_MS);
  await wish("the network moves on");
  await charlie.hears(into);
  expectEach("Charlie", tally(into, charlie.heard));
  expectEach("Bob", await bob.counts(before));
  expectEach("Bob", await bob.counts(into));
  expect((await bob.resource()) === first && (await bob.partings()) === 0, "Bob's session goes on");
  step("the network stood still for 20 s");

  if (isManaged) {
    await wish("upstream's connections break");
    const [bobs, charlies] = [texts("Bob", "after the break"), texts("Charlie", "after the break")];
    charlies.forEach(charlie.say);
    await bob.saysAll(bobs);
    await charlie.hears(bobs);
    expectEach("Charlie", tally(bobs, charlie.heard));
    expectEach("Bob", await bob.counts(charlies));
    expect((await bob.resource()) === first && (await bob.partings()) === 0, "Bob's session goes on");
    step("upstream's connections broke, and nobody noticed");
  }

  for (const trouble of isManaged ? ["the server restarts"] : ["upstream's connections break", "the server restarts"]) {
    await bob.parts(() => wish(trouble));
    await bob.connected(BOB);
    charlie = await member(address, "charlie", `Charlie in Node, after ${trouble}`);
    const [bobs, charlies] = [texts("Bob", `after ${trouble}`), texts("Charlie", `after ${trouble}`)];
    charlies.forEach(charlie.say);
    await bob.saysAll(bobs);
    await charlie.hears(bobs);
    expectEach("Charlie", tally(bobs, charlie.heard));
    expectEach("Bob", await bob.shown(charlies));
    step(`${trouble}, and both talk again`);
  }
  charlie.leave();
});
