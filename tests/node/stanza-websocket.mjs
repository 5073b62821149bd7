// stanza 12 by WebSocket.
import { stanza } from "./stanza.mjs";

await stanza("websocket");
