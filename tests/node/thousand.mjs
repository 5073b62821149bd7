// A thousand numbered messages each way between a visitor and somebody at the server itself, while one kind of trouble happens
// again and again: what each has heard is counted by the number.
import { createInterface } from "node:readline";
import { peer, ROOM } from "./peer.mjs";

/** As many as docs/continuity.md tells of, or few enough for every day. */
export const IS_WHOLE = process.env.CONTINUITY === "whole";
const [EACH, TROUBLES] = IS_WHOLE ? [1000, 20] : [Number(process.argv[8] ?? 200), 5];
const PATIENCE_MS = 60_000;
export const [ADDRESS, SERVER, PASSWORD, who, server, trouble] = process.argv.slice(2);
export { ROOM };

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Waits until this holds, or fails with this sentence. */
export async function until(holds, sentence) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited ${PATIENCE_MS / 1000} s until ${sentence}`);
    await pause(5);
  }
}

/** What each of the troubles is, and how it is called in the table. */
const TROUBLE = {
  reload: { name: "page loads", happens: (visitor) => visitor.reloads() },
  breaks: { name: "the network breaks", happens: () => wish("the network breaks") },
  changes: {
    name: "the network changes",
    happens: async (visitor) => {
      await wish("the network changes");
      await visitor.losesItsSocket();
    },
  },
  killed: { name: "`kill -9`", happens: () => wish("the edge is killed") },
};

/** A guest without a pass is somebody else when the edge has been killed: then nothing is promised. */
const isPromised = !(who === "anonymous" && trouble === "killed");
/**
 * ejabberd's former process of a stream that is resumed still takes what was on its way to it, and does not count it (mod_stream_mgmt,
 * `c2s_handle_call`): the client says it again. What was on its way from it goes round by the router (`bounce_message_queue`) and is overtaken.
 * So nothing of the visitor's is under way when trouble comes, and the order of what he hears is not held against it.
 */
const isResumedByEjabberd = server === "ejabberd" && who !== "anonymous";
const NAMES = { member: "member", guest: "guest with a pass", anonymous: "guest by ANONYMOUS" };

/**
 * Tells the story of a visitor by `client`, a name for the table.
 *
 * `enters()` gives him when he is in the room; he has `jid()`, `isThere()` (whether his stream stands), `times()` (how often one has begun to stand), `say(body, to)` (in the room
 * without `to`), `heard()`, `reloads()`, `losesItsSocket()` where the network changes, and `wire()` for a failure. He may have `twice()` and `greetsAgain()`.
 */
export async function tellThousand(client, enters) {
  let wire = () => [];
  try {
    const other = await peer(SERVER, PASSWORD);
    const visitor = await enters();
    wire = () => visitor.wire();
    const first = await visitor.jid();
    const [ours, theirs] = [texts("visitor"), texts("peer")];
    const unusable = [];
    const stirs = other.stirs().length;
    const comesAndGoes = () => other.stirs().slice(stirs).filter((stir) => !visitor.greetsAgain?.() || /\btype=.unavailable/.test(stir));
    let [said, round, isSilent] = [0, 0, false];
    const talks = (async () => {
      for (const [number, text] of ours.entries()) {
        await until(async () => number < (round + 1) * (EACH / TROUBLES) && (await visitor.isThere()) && !isSilent, "the visitor is there");
        said = number + 1;
        await visitor.say(text, toOne(number) ? "peer@xmpp.localhost" : undefined);
        await pause(2);
      }
    })();
    const answers = (async () => {
      for (const [number, text] of theirs.entries()) {
        // He goes on while the visitor cannot, but does not get far ahead.
        await until(() => number < said + EACH / TROUBLES, "the visitor talks on");
        other.say(text, toOne(number) ? await visitor.jid() : undefined);
        await pause(2);
      }
    })();
    const troubles = (async () => {
      for (round = 0; round < TROUBLES; round++) {
        const half = (round + 0.5) * (EACH / TROUBLES);
        await until(() => said >= half, "half a round is said");
        if (isResumedByEjabberd) {
          isSilent = true;
          await until(() => other.heard().includes(ours[said - 1]), "the peer has heard what was said");
        }
        const before = await visitor.times();
        const begun = Date.now();
        await TROUBLE[trouble].happens(visitor);
        await until(async () => (await visitor.times()) > before && visitor.isThere(), "the chat can be used again");
        unusable.push(Date.now() - begun);
        isSilent = false;
        console.log(`ok: ${TROUBLE[trouble].name}, ${round + 1} of ${TROUBLES}`);
      }
    })();
    await Promise.all([talks, answers, troubles]);

    // Where nothing is promised, the last must do.
    const all = (wanted, heard) => async () => {
      const got = new Set(await heard());
      return (isPromised ? wanted : wanted.slice(-1)).every((text) => got.has(text));
    };
    const waits = [until(all(ours, () => other.heard()), "the peer has heard all"), until(all(theirs, () => visitor.heard()), "the visitor has heard all")];
    for (const wait of waits) await wait.catch((error) => console.log(`ok: ${error.message}`));
    const counts = [tally(ours, other.heard()), tally(theirs, await visitor.heard())];
    if (isResumedByEjabberd) counts[1].disordered = [];
    const sum = (what) => counts[0][what].length + counts[1][what].length;
    const isSame = (await visitor.jid()) === first;
    const stays = comesAndGoes().length === 0;
    const sorted = unusable.sort((one, another) => one - another);
    const times = `${sorted[sorted.length >> 1]} / ${sorted.at(-1)} ms`;
    const yes = (holds) => (holds ? "yes" : "no");
    console.log(`row: | ${NAMES[who]} | ${client} | ${server} | ${TROUBLE[trouble].name} | ${EACH} | ${sum("lost")} | ${sum("doubled")} | ${times} | ${yes(isSame)} | ${yes(stays)} |`);
    // On one connection nothing may come twice, whoever is to blame elsewhere.
    const twice = visitor.twice?.() ?? [];
    const good = twice.length === 0 && sum("lost") + sum("doubled") + sum("disordered") === 0 && isSame && stays;
    if (isPromised && !good) throw new Error(`${JSON.stringify(counts)}, ${await visitor.jid()} was ${first}, the room: ${comesAndGoes()}, back: ${other.errors().slice(0, 5)}, twice: ${twice}`);
    process.exit(0);
  } catch (error) {
    console.error(`FAILED: ${client}: ${error.stack}`);
    for (const line of wire().slice(-60)) console.error(`  ${line.slice(0, 400)}`);
    process.exit(1);
  }
}

/** Every other message goes to one, and the others into the room. */
const toOne = (number) => number % 2 === 0;
const texts = (whose) => Array.from({ length: EACH }, (_, number) => `${whose} ${number}`);

/** Which of these were not heard, more than once, or behind a later one that went the same way. */
function tally(wanted, heard) {
  const times = new Map();
  for (const text of heard) times.set(text, (times.get(text) ?? 0) + 1);
  const lost = wanted.filter((text) => !times.has(text));
  const doubled = wanted.filter((text) => times.get(text) > 1);
  const number = (text) => Number(text.split(" ")[1]);
  const disordered = [true, false].flatMap((one) => {
    const way = heard.filter((text) => times.has(text) && wanted.includes(text) && toOne(number(text)) === one);
    return way.filter((text, at) => at > 0 && number(text) < number(way[at - 1]));
  });
  return { lost, doubled, disordered };
}

const granted = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks whoever runs the servers for this, and waits until it is so. */
async function wish(text) {
  console.log(`wish: ${text}`);
  if ((await granted.next()).value !== "granted") throw new Error(`nobody grants "${text}"`);
}
