// Everything behind and around the proxy fails in turn, and Bob, Charlie and Alice, who is a guest, are back in the lobby each time without a click.
import { expect, tell } from "./support.mjs";

const BOB = /^bob@xmpp\.localhost\//;
const CHARLIE = /^charlie@xmpp\.localhost\//;
const GUEST = /^guest-[0-9a-f]{20}@guest\.localhost\//;

await tell("outages", async ({ visitor, step, wish, transport }) => {
  const bob = await visitor("bob");
  const charlie = await visitor("charlie");
  await bob.signIn("bob");
  await charlie.signIn("charlie");
  await charlie.openChat(CHARLIE);
  const alice = await visitor("alice");
  const guest = await alice.openChat(GUEST);
  let talks = 0;
  const talk = async () => {
    const [, , again] = await Promise.all([bob.connected(BOB), charlie.connected(CHARLIE), alice.connected(GUEST)]);
    expect(again === guest, `Alice is ${guest} again, not ${again}`);
    const said = (what) => `${what} ${talks} (${process.pid})`;
    talks += 1;
    await bob.say(said("question"));
    await Promise.all([charlie.sees(said("question")), alice.sees(said("question"))]);
    await Promise.all([charlie.say(said("answer")), alice.say(said("remark"))]);
    await Promise.all([bob.sees(said("answer")), bob.sees(said("remark"))]);
  };
  /** All lose their streams by this. */
  const allPart = async (what) => bob.parts(() => charlie.parts(() => alice.parts(() => wish(what))));

  await charlie.parts(() => alice.parts(() => wish("the server is down")));
  await bob.beginChat();
  await wish("the server is up");
  await talk();
  step("the server was down when Bob's page was loaded, and came up");

  await allPart("the server restarts");
  await talk();
  step("the server restarted in the middle of the talk");

  await wish("the server stands still");
  const unheard = `into the silence (${process.pid})`;
  const spoken = bob.say(unheard);
  await Promise.all([bob.sends(unheard).then(() => wish("the server moves on")), spoken]);
  await Promise.all([charlie.sees(unheard), alice.sees(unheard)]);
  await talk();
  await wish("the server stands still");
  await allPart("the server restarts");
  await talk();
  step("the server stood still in the middle of the talk, once for a moment and once until it was killed");

  await allPart("the server hangs");
  await bob.leave();
  await bob.beginChat();
  await wish("somebody is held");
  await wish("the server is up");
  await talk();
  step("the server hung when Bob's page was loaded, and another took its place");

  await wish("whois is down");
  await bob.leaveForLong();
  await bob.beginChat();
  await wish("whois is up");
  await talk();
  step("the site could not say who Bob is when his page was loaded");

  await wish("whois hangs");
  await bob.leaveForLong();
  await bob.beginChat();
  await wish("whois is up");
  await talk();
  step("the site took its time to say who Bob is");

  await wish("the proxy is down");
  // By WebSocket they have noticed and knock in vain; by BOSH they repeat what was not answered.
  await Promise.all([bob.knocksInVain(), charlie.knocksInVain(), alice.knocksInVain()]);
  await (transport === "websocket" ? wish : allPart)("the proxy is up");
  await talk();
  step("the proxy was down for a while in the middle of the talk");

  await bob.leave();
  await charlie.parts(() => alice.parts(() => wish("the proxy restarts")));
  await bob.beginChat();
  await talk();
  step("the proxy restarted while Bob was elsewhere: what his tab has stored is worth nothing");

  await wish("the server has another secret");
  // A stored BOSH session would be gone on with, and no pass shown.
  await allPart("the proxy restarts");
  await wish("a pass is refused");
  await wish("the server has its secret again");
  await talk();
  step("the server refused the proxy's passes until its secret was put right");

  await bob.parts(() => (transport === "websocket" ? bob.does(forbiddenByWebSocket) : bob.does(forbiddenByBosh)));
  await talk();
  step("a script in Bob's page sent what is forbidden, and Bob is back");
});

/** Speaks on the page's own WebSocket. */
function forbiddenByWebSocket() {
  globalThis.sockets.at(-1).send("<message xmlns='jabber:client'><!-- hidden --></message>");
}

/** Speaks in the page's own BOSH session. */
async function forbiddenByBosh() {
  const { sid, rid } = JSON.parse(sessionStorage.getItem("strophe-bosh-session"));
  const body = `<body rid='${rid}' sid='${sid}' xmlns='http://jabber.org/protocol/httpbind'><message xmlns='jabber:client'><!-- hidden --></message></body>`;
  await fetch("/http-bind", { method: "POST", body, headers: { "Content-Type": "text/xml" } });
}
