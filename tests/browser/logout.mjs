// Whoever signs out at the site is a guest after a reload, and Bob again after a login, though the cookie's value never changed.
import { expect, tell } from "./support.mjs";

const BOB = /^bob@xmpp\.localhost\//;
const GUEST = /^guest-[0-9a-f]{20}@guest\.localhost\//;

await tell("logout", async ({ visitor, step }) => {
  const bob = await visitor("bob");
  const charlie = await visitor("charlie");
  await charlie.signIn("charlie");
  await charlie.openChat();
  await bob.signIn("bob");
  const cookie = await bob.siteCookie();
  await bob.openChat(BOB);
  step("Bob is in the lobby as himself");

  await bob.signOut();
  const guest = await bob.openChat(GUEST);
  expect((await bob.siteCookie()) === cookie, "the site keeps the value of its cookie over a logout");
  step(`signed out at the site, the browser is ${guest}`);
  await bob.say(`as a guest (${process.pid})`);
  await charlie.sees(`as a guest (${process.pid})`);
  await bob.screenshot("signed-out");
  expect((await bob.reload()) === guest, "a reload gives the same guest");
  step("the guest speaks in the lobby, and a reload leaves the guest who it is");

  await bob.signIn("bob");
  await bob.openChat(BOB);
  expect((await bob.siteCookie()) === cookie, "the site keeps the value of its cookie over a login");
  await bob.say(`as Bob again (${process.pid})`);
  await charlie.sees(`as Bob again (${process.pid})`);
  await bob.screenshot("signed-in-again");
  step("signed in at the site again, the browser is Bob again, under the same cookie");
});
