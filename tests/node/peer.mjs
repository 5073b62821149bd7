// Somebody at the server itself, by TCP: what becomes of the edge and of its network does not touch him, and he counts by himself.
import { connect } from "node:net";

export const ROOM = "lobby@conference.localhost";
const DOMAIN = "xmpp.localhost";
const HEADER = `<?xml version='1.0'?><stream:stream to='${DOMAIN}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`;
const STANZA = /<(message|presence|iq)\b(?:[^>]*\/>|[^>]*[^/]>.*?<\/\1>)/gs;

/** Signs in at `server` ("127.0.0.1:5222") with what it believes for "peer", and enters the room. */
export async function peer(server, password) {
  const [host, port] = server.split(":");
  const socket = connect(Number(port), host);
  socket.setEncoding("utf8");
  let text = "";
  let wakes = () => {};
  const stanzas = [];
  socket.on("data", (more) => {
    text += more;
    wakes();
  });
  const until = async (end) => {
    while (!text.includes(end)) await new Promise((resolve) => (wakes = resolve));
    const at = text.indexOf(end) + end.length;
    const found = text.slice(0, at);
    text = text.slice(at);
    return found;
  };
  socket.write(HEADER);
  await until("</stream:features>");
  const plain = Buffer.from(`\0peer\0${password}`).toString("base64");
  socket.write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain}</auth>`);
  await until("<success");
  socket.write(HEADER);
  await until("</stream:features>");
  socket.write("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
  await until("</iq>");
  socket.write(`<presence/><presence to='${ROOM}/Peer'><x xmlns='http://jabber.org/protocol/muc'/></presence>`);
  await until("<subject");
  await until("</message>");

  const read = () => {
    let end = 0;
    for (const found of text.matchAll(STANZA)) {
      stanzas.push(found[0]);
      end = found.index + found[0].length;
    }
    text = text.slice(end);
  };
  wakes = read;
  read();
  const escaped = (jid) => jid.replace(/['&<]/g, (character) => `&#${character.codePointAt(0)};`);
  return {
    /** Says this to one, or in the room if there is no `to`. */
    say: (body, to) => socket.write(`<message to='${escaped(to ?? ROOM)}' type='${to ? "chat" : "groupchat"}'><body>${body}</body></message>`),
    /** The texts of the messages that came, in their order. */
    heard: () => stanzas.filter((stanza) => stanza.startsWith("<message") && !/\btype=.error/.test(stanza)).flatMap((stanza) => stanza.match(/(?<=<body[^>]*>)[^<]*/) ?? []),
    /** What came back. */
    errors: () => stanzas.filter((stanza) => /\btype=.error/.test(stanza)),
    /** What the room has said of who comes and goes. */
    stirs: () => stanzas.filter((stanza) => stanza.startsWith("<presence") && stanza.includes(ROOM)),
    leave: () => socket.destroy(),
  };
}
