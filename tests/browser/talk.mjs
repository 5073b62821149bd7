// Bob, by Converse.js, and Charlie, by stanza, say 200 things each, while Bob's page is loaded anew again and again: each hears each once.
import { member, pause } from "./member.mjs";
import { expect, expectEach, tally, tell } from "./support.mjs";

const BOB = /^bob@xmpp\.localhost\//;
const ROUNDS = 5;
const EACH = 40;

await tell("talk", async ({ visitor, step, address }) => {
  const bob = await visitor("bob");
  await bob.signIn("bob");
  await bob.openChat(BOB);
  const first = await bob.resource();
  const charlie = await member(address, "charlie", "Charlie in Node");
  step("Bob and Charlie are in the lobby");

  const fromBob = [];
  const fromCharlie = [];
  for (let round = 0; round < ROUNDS; round++) {
    const texts = (who) => Array.from({ length: EACH }, (_, number) => `${who} ${round}.${number} (${process.pid})`);
    const [bobs, charlies] = [texts("Bob"), texts("Charlie")];
    const talks = (async () => {
      for (const text of charlies) {
        charlie.say(text);
        await pause(25);
      }
    })();
    await bob.saysAll(bobs);
    fromBob.push(...bobs);
    // What Bob has said himself is out when the room has said it to Charlie; Charlie talks on.
    await charlie.hears(bobs);
    await bob.reload(BOB);
    await talks;
    fromCharlie.push(...charlies);
    step(`round ${round}: Bob's page was loaded anew`);
  }

  await charlie.hears(fromBob);
  expectEach("Charlie", tally(fromBob, charlie.heard));
  step("Charlie has heard each once, and in order");
  expectEach("Bob", await bob.counts(fromCharlie));
  expectEach("Bob", await bob.counts(fromBob));
  step("Bob has heard each once, and in order");
  const last = await bob.resource();
  expect(last === first, `Bob is ${first} all the while, not ${last}`);
  expect(charlie.partings.length === 0, "Charlie is not thrown out");
  charlie.leave();
});
