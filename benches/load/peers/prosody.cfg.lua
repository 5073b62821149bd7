-- Prosody as the demo has it, with one domain: whoever has a ticket is in, by client port, WebSocket or BOSH. No accounts
-- and nothing on disk, so that a sign-in costs no more than the sign-in.
run_as_root = true
pidfile = "@FOLDER@/prosody.pid"
data_path = "@FOLDER@/data"
plugin_paths = { "@FOLDER@" }
log = { { levels = { min = "warn" }, to = "console" } }
gc = { mode = "generational" }
network_settings = { nagle = false }
storage = "memory"

interfaces = { "127.0.0.1" }
c2s_ports = { @CLIENT@ }
c2s_require_encryption = false
http_ports = { @HTTP@ }
http_interfaces = { "127.0.0.1" }
http_default_host = "localhost"
https_ports = {}
-- The proxy in front has TLS.
consider_bosh_secure = true
consider_websocket_secure = true

modules_enabled = {
	"blocklist", "bosh", "bookmarks", "carbons", "disco", "pep", "ping", "private", "roster", "saslauth", "smacks",
	"time", "vcard4", "vcard_legacy", "version", "websocket",
}
modules_disabled = { "s2s", "s2s_auth_certs", "offline" }

VirtualHost "localhost"
	authentication = "vestibule"
	vestibule_secret_file = "@FOLDER@/ticket.secret"
	vestibule_fallback = "none"
