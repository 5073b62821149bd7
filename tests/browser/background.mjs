// Bob's tab is in the background, where Chromium lets it do something once a minute: he hears each word once all the same.
import { member, pause } from "./member.mjs";
import { expect, expectEach, tell } from "./support.mjs";

const BOB = /^bob@xmpp\.localhost\//;
const MINUTE = 60_000;
/** Without what playwright starts a browser with so that its tabs are never slow; and not five minutes until they are. */
const THROTTLED = {
  more: ["--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/10"],
  without: [
    "--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
    "--disable-ipc-flooding-protection",
  ],
};

await tell("background", async ({ visitor, step, address }) => {
  const bob = await visitor("bob");
  await bob.signIn("bob");
  await bob.openChat(BOB);
  const charlie = await member(address, "charlie", "Charlie in Node");
  const first = await bob.resource();
  const comeBack = await bob.hide();
  await bob.does(() => {
    globalThis.ticks = [];
    setInterval(() => globalThis.ticks.push(Date.now()), 1000);
  });
  step("Bob's tab is hidden");

  // Before anybody speaks: Converse.js tells of messages in the title of the page, and for some seconds after that Chromium lets it be quick.
  const until = Date.now() + 2 * MINUTE;
  let longest = 0;
  while (longest < MINUTE / 2 && Date.now() < until) {
    await pause(2_000);
    const ticks = await bob.does(() => globalThis.ticks);
    longest = Math.max(...ticks.map((tick, at) => (ticks[at + 1] ?? Date.now()) - tick));
  }
  expect(longest > MINUTE / 2, `a timer of 1 s fires once a minute in the background, not every ${longest} ms`);
  step(`a timer of 1 s has not fired for ${longest} ms`);

  const texts = Array.from({ length: 20 }, (_, number) => `Charlie ${number} (${process.pid})`);
  for (const text of texts) {
    charlie.say(text);
    await pause(1_000);
  }
  const meanwhile = (await bob.hasHeard()).length;

  await comeBack();
  expectEach("Bob", await bob.counts(texts));
  expect((await bob.resource()) === first, "Bob's session goes on");
  step(`Bob has heard each once, ${meanwhile} of ${texts.length} in the background`);
  charlie.leave();
}, THROTTLED);
