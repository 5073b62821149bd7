// stanza 12 by BOSH, with a session that it starts itself.
import { stanza } from "./stanza.mjs";

await stanza("bosh");
