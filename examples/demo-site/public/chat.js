// Starts Converse.js with the page's options, and shows under which JID the server knows this browser.
const options = JSON.parse(document.getElementById("chat-options").textContent);
if (options.websocket_url) options.websocket_url = new URL(options.websocket_url, location.href.replace(/^http/, "ws")).href;

// A guest's page cannot name its visitor, and Converse.js would pick up whatever stream this tab has kept: also a member's who has
// signed out since. The edge refuses it, but Converse.js 14 stumbles when the next stream is somebody else's.
const kept = JSON.parse(sessionStorage.getItem("strophe-bosh-session") ?? "null");
if (!options.jid && kept && !kept.jid.includes(`@${options.guests}/`)) sessionStorage.removeItem("strophe-bosh-session");
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
    const signedIn = async () => {
      const connection = api.connection.get();
      const [bare] = connection.jid.split("/");
      // Signed out meanwhile, a member goes on as a guest: Converse.js would still show what was the member's, and stumble over it.
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
