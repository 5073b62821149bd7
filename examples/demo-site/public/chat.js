// Starts Converse.js with the page's options, and shows under which JID the server knows this browser.
const options = JSON.parse(document.getElementById("chat-options").textContent);
if (options.websocket_url) options.websocket_url = new URL(options.websocket_url, location.href.replace(/^http/, "ws")).href;

// By the name that a guest had in this tab Converse.js finds his stream again; who has none yet takes any.
const guest = `@${options.guests}`;
const had = sessionStorage.getItem("guest") ?? "";
if (options.websocket_url && options.guests) options.jid = had.endsWith(guest) ? had : `somebody${guest}`;

// A guest's page cannot name its visitor, and Converse.js would pick up whatever stream this tab has kept: also a member's who has
// signed out since. The edge refuses it, but Converse.js 14 stumbles when the next stream is somebody else's.
const kept = JSON.parse(sessionStorage.getItem("strophe-bosh-session") ?? "null");
if (!options.jid && kept && !kept.jid.includes(`${guest}/`)) sessionStorage.removeItem("strophe-bosh-session");
// Whether Converse.js goes on with a BOSH session that it kept, and has not yet shown that it can.
let goesOn = sessionStorage.getItem("strophe-bosh-session") !== null;

// Whom this page has shown the chat of, once it has; a bare JID.
let visitor;

const status = document.getElementById("status");
// What tests wait for: the JID that this browser is bound under, and the room that it is in.
const { dataset } = document.documentElement;

globalThis.converse.plugins.add("reading-room", {
  initialize() {
    const { api } = this._converse;
    const entered = (room) => {
      goesOn = false;
      dataset.room = room.get("jid");
    };
    // Converse.js 14 gives its stream up when it loses its connection once more behind a resumption, so that a stanza on which the
    // server hangs up does not come again for ever. As soon as the server has taken all that was sent again, there is no such stanza.
    const goesOnAgain = (session) => {
      if (!session.get("unacked_stanzas")?.length) session.save("smacks_resumed", false);
    };
    const signedIn = async () => {
      const { session } = this._converse;
      session.off("change:unacked_stanzas", goesOnAgain);
      session.on("change:unacked_stanzas", goesOnAgain);
      goesOnAgain(session);
      const connection = api.connection.get();
      const [bare] = connection.jid.split("/");
      // Signed out meanwhile, a member goes on as a guest: Converse.js would still show what was the member's, and stumble over it.
      // The page that is loaded goes on with the stream that there is by now.
      sessionStorage.setItem("guest", bare);
      if (visitor && visitor !== bare) return location.reload();
      visitor = bare;
      dataset.jid = connection.jid;
      status.textContent = `Signed in to the chat as ${bare}`;
      // A stream that was kept is still in its rooms; on a new one Converse.js enters them again, and tells.
      // Behind a reload it first asks whether it is.
      const kept = connection.restored ? await api.rooms.get() : [];
      for (const room of kept) room.initialized.then(() => room.isEntered() && entered(room));
    };
    const signedOut = (text) => () => {
      delete dataset.jid;
      delete dataset.room;
      status.textContent = text;
    };
    api.listen.on("connected", signedIn);
    api.listen.on("reconnected", signedIn);
    api.listen.on("will-reconnect", () => {
      signedOut("Connecting again …")();
      // The session was gone. Of a room that was kept with it, Converse.js 14 may have asked in vain whether it is still in it;
      // it waits for that answer for ever, and is in the room no more however it comes back. A page without the session is.
      if (goesOn) location.reload();
    });
    api.listen.on("disconnected", signedOut("Not connected"));
    // All that Converse.js says of a /prebind that was refused, as where there are no guests.
    api.listen.on("noResumeableBOSHSession", signedOut("Not connected"));
    api.listen.on("enteredNewRoom", entered);
    // A room that was kept over a reload, with its stream, is entered without a word.
    api.listen.on("chatRoomInitialized", (room) => api.connection.get()?.restored && room.isEntered() && entered(room));
  },
});

const { guests, ...settings } = options;
globalThis.converse.initialize({ ...settings, whitelisted_plugins: ["reading-room"] });
