-- The Prosody of the demo and of the tests: three domains and their rooms, all within one folder.
--
-- It takes from the environment
--   PROSODY_FOLDER      where data, log and pid file go; it holds ticket.secret, which Vestibule reads too
--   PROSODY_MODULES     the folder of mod_auth_vestibule.lua
--   PROSODY_C2S_PORT    of the clients' TCP connections, on loopback; 5222 if unset
--   PROSODY_HTTP_PORT   of Prosody's own BOSH and WebSocket, on loopback; without it there is no HTTP
--
-- A server that others can reach wants TLS, backups and a second thought: docs/prosody.md.

local folder = assert(ENV_PROSODY_FOLDER, "PROSODY_FOLDER is not set")

run_as_root = true -- in a container there may be nobody else
data_path = folder .. "/data"
pidfile = folder .. "/prosody.pid"
certificates = folder
plugin_paths = { assert(ENV_PROSODY_MODULES, "PROSODY_MODULES is not set") }
log = {
	info = folder .. "/prosody.log",
	{ levels = { min = "info" }, to = "console" },
}

-- Cheaper sign-ins, and no waiting under TLS.
gc = { mode = "generational" }
network_settings = { nagle = false }

interfaces = { "127.0.0.1" }
c2s_ports = { tonumber(ENV_PROSODY_C2S_PORT or 5222) }
-- Native clients may come without TLS here; PLAIN stays for tickets, they get SCRAM.
c2s_require_encryption = false

local modules = {
	"blocklist", "bookmarks", "carbons", "disco", "pep", "ping", "private", "roster", "saslauth", "smacks",
	"time", "vcard4", "vcard_legacy", "version",
}
if ENV_PROSODY_HTTP_PORT then
	table.insert(modules, "bosh")
	table.insert(modules, "websocket")
end
modules_enabled = modules
modules_disabled = { "s2s", "s2s_auth_certs" }

if ENV_PROSODY_HTTP_PORT then
	http_ports = { tonumber(ENV_PROSODY_HTTP_PORT) }
	http_interfaces = { "127.0.0.1" }
	http_default_host = "xmpp.localhost"
	consider_bosh_secure = true
	consider_websocket_secure = true
end
https_ports = {}

admins = { "admin@xmpp.localhost" }
disco_items = { { "conference.localhost", "Rooms" } }

-- Members: the site's users under their own names. Their accounts are made when they first come.
VirtualHost "xmpp.localhost"
	authentication = "vestibule"
	vestibule_secret_file = folder .. "/ticket.secret"

-- Guests: a name out of a cookie, no account, nothing on disk.
VirtualHost "guest.localhost"
	authentication = "vestibule"
	vestibule_secret_file = folder .. "/ticket.secret"
	vestibule_fallback = "none"
	storage = "memory"
	storage_memory_temporary = true
	modules_disabled = { "s2s", "s2s_auth_certs", "offline" }

-- Guests where the server has no module of ours.
VirtualHost "anon.localhost"
	authentication = "anonymous"

-- Rooms for all three. Whoever enters a room first makes it, and nobody has to unlock it.
Component "conference.localhost" "muc"
	muc_room_default_public = true
	muc_room_default_persistent = false
	muc_room_locking = false
