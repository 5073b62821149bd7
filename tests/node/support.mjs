// What the clients in Node share: a browser's headers, which they do not send of themselves, and steps that are awaited.
import WebSocket from "ws";

/** The longest that anything awaited may take. */
const PATIENCE_MS = 30_000;
export const ROOM = "lobby@conference.localhost";
const MEMBER = "bob@xmpp.localhost";

const [address, cookie] = process.argv.slice(2);
if (!address || !cookie) {
  console.error(`usage: NODE_EXTRA_CA_CERTS=certs/development.pem node ${process.argv[1]} https://localhost:8443 'PHPSESSID=…'`);
  process.exit(64);
}

export const urls = {
  websocket: `${address.replace(/^http/, "ws")}/xmpp-websocket`,
  bosh: `${address}/http-bind`,
};

/** What a browser sends with a request of the site's own page. */
const headers = { Cookie: cookie, Origin: new URL(address).origin };

/** A WebSocket that shows the site's cookie, as a browser's does. */
export class BrowserWebSocket extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { headers });
  }
}

/** A fetch that shows the site's cookie, as a browser's does. */
export function browserFetch(url, options = {}) {
  return fetch(url, { ...options, headers: { ...options.headers, ...headers } });
}

let last = "started";

/** Runs one client's story; the exit code says how it ended. A failure names the last step that was reached. */
export async function tell(name, story) {
  const wire = [];
  try {
    await story({ wire });
    console.log(`passed: ${name}`);
    process.exit(0);
  } catch (error) {
    console.error(`FAILED: ${name}, after "${last}": ${error.message}`);
    for (const line of wire.slice(-20)) console.error(`  ${line.slice(0, 500)}`);
    process.exit(1);
  }
}

export function step(text) {
  console.log(`ok: ${(last = text)}`);
}

/** Fails unless the JID is Bob's. */
export function expectBob(jid) {
  if (jid?.split("/")[0] !== MEMBER) throw new Error(`expected to be bound as ${MEMBER}, not ${jid}`);
}

/** Awaits what `subscribe(resolve, reject)` reports, within bounds. */
export function awaited(what, subscribe) {
  return new Promise((resolve, reject) => {
    const deadline = setTimeout(() => reject(new Error(`waited ${PATIENCE_MS / 1000} s for ${what}`)), PATIENCE_MS);
    const settle = (then) => (value) => {
      clearTimeout(deadline);
      then(value);
    };
    subscribe(settle(resolve), settle((reason) => reject(reason instanceof Error ? reason : new Error(`${what}: ${reason}`))));
  });
}
