// The demo site's pages.
import { members } from "./members.mjs";

export const TRANSPORTS = ["websocket", "bosh", "prebind"];

/** The front page: what there is to see, and the login form. */
export function front(session) {
  return page("The reading room", session, `
    <section class="card">
      <h1>The reading room</h1>
      <p>A small site with a chat. The chat knows who you are here: sign in, and you are signed in there; don't, and you are a guest.</p>
      ${session.member ? `<p>Welcome, ${escape(session.member.nick)}.</p>` : ""}
      <p><a class="button" href="/chat">Enter the chat</a></p>
    </section>
    ${session.member ? "" : loginForm("")}`);
}

/** The login form again, with the reason it is shown. */
export function loginRefused(session) {
  return page("Sign in", session, loginForm("No member has this name and password."));
}

/** The page with Converse.js. All that it must be told is in the options. */
export function chat(session, { transport, anonymous }, xmpp) {
  const switches = TRANSPORTS.map((name) =>
    name === transport ? `<strong>${name}</strong>` : `<a href="/chat?transport=${name}" data-transport="${name}">${name}</a>`,
  );
  return page("Chat", session, `
    <p class="bar"><span>Transport: ${switches.join(" · ")}</span><output id="status">Connecting …</output></p>
    <div id="chat"><converse-root></converse-root></div>
    <script type="application/json" id="chat-options">${json(options(session, { transport, anonymous }, xmpp))}</script>
    <link rel="stylesheet" href="/converse/converse.min.css">
    <script type="module" src="/converse/converse.min.js"></script>
    <script type="module" src="/chat.js"></script>`);
}

/** What the page tells Converse.js: never a password; the cookie says who it is. */
function options(session, { transport, anonymous }, xmpp) {
  const nick = session.member?.nick ?? `Guest ${session.id.slice(0, 6)}`;
  const common = {
    view_mode: "embedded",
    singleton: true,
    discover_connection_methods: false,
    auto_login: true,
    auto_join_rooms: [{ jid: xmpp.room, nick }],
    assets_path: "/converse/",
    theme: "classic",
    dark_theme: "classic",
    // Keys for encryption need devices that stay; this page has visitors.
    blacklisted_plugins: ["converse-omemo"],
  };
  if (transport === "prebind") {
    // Converse.js looks for a session it kept over a reload by this jid; of a guest only the edge knows it (see chat.js).
    const who = session.member ? { jid: `${session.member.username}@${xmpp.domain}` } : { guests: xmpp.guests };
    return { ...common, authentication: "prebind", ...who, prebind_url: "/prebind", bosh_service_url: "/http-bind" };
  }
  const own = session.member && `${session.member.username}@${xmpp.domain}`;
  if (transport === "bosh") {
    return { ...common, authentication: "external", jid: (!anonymous && own) || xmpp.domain, bosh_service_url: "/http-bind" };
  }
  // With the visitor's own jid Converse.js resumes its stream after a reload. That of a guest only the tab knows (see chat.js); a page
  // that does not know who its visitor is gives the domain.
  const who = anonymous ? { jid: xmpp.domain } : own ? { jid: own } : { guests: xmpp.guests };
  // chat.js adds the host that the page came from.
  return { ...common, authentication: "external", ...who, websocket_url: "/xmpp-websocket" };
}

function loginForm(problem) {
  const known = [...members.values()].map(({ username, password }) => `<li><code>${username}</code> / <code>${password}</code></li>`);
  return `
    <section class="card">
      <h2>Sign in</h2>
      ${problem ? `<p class="problem" role="alert">${escape(problem)}</p>` : ""}
      <form method="post" action="/login" id="login">
        <label>Name <input name="username" autocomplete="username" required></label>
        <label>Password <input name="password" type="password" autocomplete="current-password" required></label>
        <button>Sign in</button>
      </form>
      <p>Members of this demo:</p>
      <ul>${known.join("")}</ul>
    </section>`;
}

function page(title, session, content) {
  const who = session.member
    ? `<form method="post" action="/logout" id="logout"><span>Signed in here as <strong>${escape(session.member.nick)}</strong></span> <button>Sign out</button></form>`
    : `<span>Not signed in here. <a href="/#login">Sign in</a></span>`;
  return `<!doctype html>
<html lang="en" data-member="${escape(session.member?.username ?? "")}">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>${escape(title)}</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/site.css">
</head>
<body>
  <header><nav><a href="/">The reading room</a> <a href="/chat">Chat</a></nav> ${who}</header>
  <main>${content}</main>
</body>
</html>
`;
}

function escape(text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);
}

/** JSON that cannot end the script element it stands in. */
function json(value) {
  return JSON.stringify(value).replaceAll("<", "\\u003c");
}
