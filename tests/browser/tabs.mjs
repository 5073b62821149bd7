// Bob has five tabs, and then a copy of the first: each has a session of its own, and the first is not disturbed.
import { member } from "./member.mjs";
import { expect, expectEach, tally, tell } from "./support.mjs";

const BOB = /^bob@xmpp\.localhost\//;

await tell("tabs", async ({ visitor, step, address }) => {
  const bob = await visitor("bob");
  await bob.signIn("bob");
  await bob.openChat(BOB);
  const tabs = [bob];
  while (tabs.length < 5) {
    const tab = await bob.anotherTab();
    await tab.openChat(BOB);
    tabs.push(tab);
  }
  const charlie = await member(address, "charlie", "Charlie in Node");
  await expectDifferent(tabs);
  step("Bob has five tabs");

  await talk("in five tabs");
  step("every tab hears everybody once");

  const first = await bob.resource();
  const copy = await bob.clonedTab();
  await copy.connected(BOB);
  await talk("beside a copy");
  // It may have been told meanwhile that the session is the first tab's.
  await copy.connected(BOB);
  await copy.say(`in the copy (${process.pid})`);
  await bob.sees(`in the copy (${process.pid})`);
  expect((await bob.resource()) === first && (await bob.partings()) === 0, "the first tab keeps its session");
  step("the first tab was copied, and was not disturbed");

  // Where the copy came just when the first tab had no request under way, both hear the same as long as one has nothing to say
  // but what the other says; who comes second with words of his own goes.
  for (let round = 0; round < 20 && (await bob.resource()) === (await copy.resource()); round++) {
    await Promise.all([bob.saysAll([`first ${round} (${process.pid})`]), copy.saysAll([`copy ${round} (${process.pid})`])]);
  }
  await Promise.all([bob.connected(BOB), copy.connected(BOB)]);
  await expectDifferent([...tabs, copy]);
  const texts = texted("Charlie", "to the copy", 20);
  texts.forEach(charlie.say);
  expectEach("the copy", await copy.shown(texts));
  expectEach("the first tab", await bob.shown(texts));
  step("both have sessions of their own");
  charlie.leave();

  /** Charlie says something, and every tab does: all hear all once. */
  async function talk(what) {
    const texts = texted("Charlie", what, 20);
    texts.forEach(charlie.say);
    for (const tab of tabs) expectEach("a tab", await tab.counts(texts));
    const own = tabs.map((_, number) => `Bob ${what} ${number} (${process.pid})`);
    for (const [number, tab] of tabs.entries()) await tab.saysAll([own[number]]);
    await charlie.hears(own);
    expect(tally(own, charlie.heard).wrong.length === 0, "Charlie hears each tab once");
    for (const tab of tabs) expect((await tab.counts(own)).wrong.length === 0, "each tab hears the others once");
  }
});

async function expectDifferent(tabs) {
  const resources = await Promise.all(tabs.map((tab) => tab.resource()));
  expect(new Set(resources).size === tabs.length, `each tab has a session of its own, not ${resources}`);
}

function texted(who, what, count) {
  return Array.from({ length: count }, (_, number) => `${who} ${what} ${number} (${process.pid})`);
}
