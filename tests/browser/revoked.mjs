// The site signs Bob out in the middle of his talk: he is Bob again or a guest, as the site's cookie says, or sees that he is not connected.
import { tell } from "./support.mjs";

const BOB = /^bob@xmpp\.localhost\//;
const GUEST = /^guest-[0-9a-f]{20}@guest\.localhost\//;

await tell("revoked", async ({ visitor, step, wish, transport }) => {
  const bob = await visitor("bob");
  await bob.signIn("bob");
  await bob.openChat(BOB);

  await bob.parts(() => wish("bob is signed out of the chat"));
  await bob.connected(BOB);
  await bob.say(`still a member (${process.pid})`);
  step("the stream was ended, but the site still knows Bob: he is back as himself");

  const other = await bob.anotherTab();
  await other.signOut();
  // By BOSH, any request that the page happens to make ends Bob's session as well: it shows another cookie by now.
  await wish("bob is signed out of the chat");
  if (transport !== "prebind") {
    // The page says that it is Bob's, which is refused: a guest is not to be shown what was Bob's.
    await bob.shows("Not connected");
    step("signed out at the site, the page that names Bob says that it is not connected");
  } else {
    await bob.connected(GUEST);
    step("signed out at the site, the page begins anew as a guest's");
  }

  await bob.openChat(GUEST);
  await bob.say(`as a guest (${process.pid})`);
  step("after a reload he speaks in the lobby as a guest");
});
