// Starts Converse.js with the page's options, and shows under which JID the server knows this browser.
const options = JSON.parse(document.getElementById("chat-options").textContent);
if (options.websocket_url) options.websocket_url = new URL(options.websocket_url, location.href.replace(/^http/, "ws")).href;

const status = document.getElementById("status");
const root = document.documentElement;

globalThis.converse.plugins.add("reading-room", {
  initialize() {
    const { api } = this._converse;
    const signedIn = () => {
      root.dataset.jid = api.connection.get().jid;
      // The count tells one sign-in from the next: a test waits for it.
      root.dataset.signIns = Number(root.dataset.signIns ?? 0) + 1;
      status.textContent = `Signed in to the chat as ${root.dataset.jid.split("/")[0]}`;
    };
    const signedOut = () => {
      delete root.dataset.jid;
      status.textContent = "Not connected";
    };
    api.listen.on("connected", signedIn);
    api.listen.on("reconnected", signedIn);
    api.listen.on("disconnected", signedOut);
    api.listen.on("will-reconnect", () => (status.textContent = "Connecting again …"));
  },
});

globalThis.converse.initialize({ ...options, whitelisted_plugins: ["reading-room"] });
