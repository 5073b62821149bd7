-- mod_auth_vestibule: whoever the website knows signs in with a ticket, without a password.
--
-- Vestibule, the edge in front of this server, mints a ticket when it writes <auth/>, and shows it where
-- SASL PLAIN has the password:
--
--     vt1.<issued>.<expires>.<nonce>.<mac>
--
--     issued, expires   milliseconds since 1970
--     nonce             16 to 64 of A-Z a-z 0-9 _ -
--     mac               base64url without padding of
--                       HMAC-SHA256(secret, "vt1\0user\0host\0issued\0expires\0nonce")
--
-- The user and the host are signed, but stand elsewhere: in the SASL identity and in the stream's header. A
-- ticket is good once, for seconds, for one user of one host, and only from the addresses of the edge.
-- Whatever is no ticket goes to the authentication that the host had before, as if this module were not there.
--
-- docs/prosody.md explains the options and the log lines.

local base64 = require "util.encodings".base64
local nodeprep = require "util.encodings".stringprep.nodeprep
local saslprep = require "util.encodings".stringprep.saslprep
local equals = require "util.hashes".equals
local hmac_sha256 = require "util.hashes".hmac_sha256
local random_password = require "util.id".long
local new_ip = require "util.ip".new_ip
local parse_cidr = require "util.ip".parse_cidr
local ip_matches = require "util.ip".match
local jid_prep = require "util.jid".prep
local resolve_relative_path = require "util.paths".resolve_relative_path
local new_sasl = require "util.sasl".new
local clock = require "util.time".now
local usermanager = require "core.usermanager"

local host = module.host
local loopback = { "127.0.0.0/8", "::1" }

-- Options ------------------------------------------------------------------------------------------------

local fallback_name = module:get_option_string("vestibule_fallback", "internal_hashed")
local create_accounts = module:get_option_boolean("vestibule_create_accounts", true)
local allow_admins = module:get_option_boolean("vestibule_allow_admins", false)
local max_lifetime = module:get_option_number("vestibule_max_lifetime", 60) * 1000
local clock_skew = module:get_option_number("vestibule_clock_skew", 5) * 1000

-- As mod_saslauth reads it.
local encryption_required = module:get_option_boolean("c2s_require_encryption",
	module:get_option_boolean("require_encryption", true))

local function read_networks(option)
	local networks = {}
	for _, text in ipairs(module:get_option_array(option, loopback)) do
		local address, bits = parse_cidr(text)
		if not address then
			error(("%s: %q is no address and no network"):format(option, text), 0)
		end
		table.insert(networks, { address = address, bits = bits })
	end
	return networks
end

local ticket_networks = read_networks("vestibule_addresses")
local unencrypted_networks = read_networks("vestibule_unencrypted_addresses")

local function is_within(networks, text)
	local address = text and new_ip(text)
	if not address then
		return false
	end
	for _, network in ipairs(networks) do
		if ip_matches(address, network.address, network.bits) then
			return true
		end
	end
	return false
end

-- Secrets ------------------------------------------------------------------------------------------------

-- All of them are believed: while the key is changed, the new one stands beside the old one.
local secrets

local function read_file(name)
	local path = resolve_relative_path(prosody.paths.config or ".", name)
	local file, problem = io.open(path, "rb")
	if not file then
		error("vestibule_secret_file: " .. problem, 0)
	end
	local text = file:read("*a")
	file:close()
	return (text:gsub("\r?\n$", ""))
end

local function read_secrets()
	local found = {}
	for _, secret in ipairs(module:get_option_array("vestibule_secret", {})) do
		table.insert(found, tostring(secret))
	end
	for _, name in ipairs(module:get_option_array("vestibule_secret_file", {})) do
		table.insert(found, read_file(name))
	end
	if #found == 0 then
		error("neither vestibule_secret nor vestibule_secret_file is set for " .. host, 0)
	end
	for _, secret in ipairs(found) do
		if #secret < 16 then
			error("a secret that signs tickets has at least 16 bytes", 0)
		end
	end
	secrets = found
end

read_secrets()

module:hook_global("config-reloaded", function ()
	local ok, problem = pcall(read_secrets)
	if not ok then
		module:log("error", "The secrets stay as they were: %s", problem)
	end
end)

-- Which tickets were used --------------------------------------------------------------------------------

-- Two generations, each as long as a ticket can possibly be good: what falls out of the older one has expired.
local generation = max_lifetime + 2 * clock_skew
-- Per generation. Prosody signs in a thousand users per second at best, so nobody honest comes near it.
local nonce_limit = 200000

local used = { since = clock() * 1000, count = 0, younger = {}, older = {} }

-- Which tickets were used before this moment is not known, so they are refused. (An edge whose clock is ahead leaves a
-- gap as long as it is ahead.) Outlives a reload of the module.
local remembers_since = used.since

local function use_up(nonce, now)
	if now - used.since >= generation then
		local gap = now - used.since >= 2 * generation
		used = { since = now, count = 0, younger = {}, older = gap and {} or used.younger }
	end
	if used.younger[nonce] or used.older[nonce] then
		return nil, "it was used before"
	end
	if used.count >= nonce_limit then
		return nil, "too many tickets were used of late to remember one more"
	end
	used.younger[nonce] = true
	used.count = used.count + 1
	return true
end

function module.save()
	return { used = used, remembers_since = remembers_since }
end

function module.restore(saved)
	used, remembers_since = saved.used, saved.remembers_since
end

-- Tickets ------------------------------------------------------------------------------------------------

local ticket_pattern = "^(vt1)%.(%d+)%.(%d+)%.([%w_-]+)%.([%w_-]+)$"

local url_alphabet = { ["+"] = "-", ["/"] = "_", ["="] = "" }

local function sign(secret, text)
	return (base64.encode(hmac_sha256(secret, text)):gsub("[+/=]", url_alphabet))
end

local function is_signed(text, mac)
	for _, secret in ipairs(secrets) do
		if equals(sign(secret, text), mac) then
			return true
		end
	end
	return false
end

-- Uses the ticket up and returns true; or nil and, for the log, the reason why not.
local function check_ticket(ticket, username, address)
	local now = clock() * 1000
	if not is_within(ticket_networks, address) then
		return nil, ("it came from %s, which is not among vestibule_addresses"):format(address or "nowhere")
	end
	local version, issued, expires, nonce, mac = ticket:match(ticket_pattern)
	if not version or #issued > 15 or #expires > 15 or #nonce < 16 or #nonce > 64 then
		return nil, "it is not whole"
	end
	if not is_signed(table.concat({ version, username, host, issued, expires, nonce }, "\0"), mac) then
		return nil, "it is not signed with our secret for this user and host"
	end
	issued, expires = tonumber(issued), tonumber(expires)
	if issued > now + clock_skew then
		return nil, ("it was issued %.1f s in the future"):format((issued - now) / 1000)
	end
	if expires < now - clock_skew then
		return nil, ("it expired %.1f s ago"):format((now - expires) / 1000)
	end
	if expires - issued > max_lifetime then
		return nil, ("it is good for %.0f s, longer than vestibule_max_lifetime"):format((expires - issued) / 1000)
	end
	if issued < remembers_since then
		return nil, "it was issued before this server started"
	end
	return use_up(nonce, now)
end

-- Accounts -----------------------------------------------------------------------------------------------

-- For hosts without accounts, such as those of guests: a user exists while signed in.
local no_accounts = {
	user_exists = function (username) return prosody.hosts[host].sessions[username] ~= nil end,
	users = function () return next, prosody.hosts[host].sessions, nil end,
	get_sasl_handler = function () return new_sasl(host, {}) end,
}

if fallback_name ~= "none" then
	module:depends("auth_" .. fallback_name)
end

-- Looked up at each use, because a reload of its module replaces it.
local function fallback()
	if fallback_name == "none" then
		return no_accounts
	end
	for _, provider in ipairs(module:get_host_items("auth-provider")) do
		if provider.name == fallback_name then
			return provider
		end
	end
	error("mod_auth_" .. fallback_name .. " provides no authentication of that name")
end

-- A message to a user without account is refused while he is offline; that is what the account is for.
local function ensure_account(username, session)
	local accounts = fallback()
	if not create_accounts or not accounts.create_user or accounts.user_exists(username) then
		return true
	end
	-- internal_hashed deletes an account without a password again, hence one that nobody knows.
	local made, problem = accounts.create_user(username, random_password())
	if not made then
		module:log("error", "No account could be made for %s@%s: %s", username, host, problem or "no reason given")
		return nil
	end
	module:log("info", "Made an account for %s@%s", username, host)
	module:fire_event("user-registered",
		{ username = username, host = host, source = "mod_auth_vestibule", session = session })
	return true
end

-- Of any host or component: the website must not be able to name somebody who rules over its chat.
local function is_admin(username)
	for name in pairs(prosody.hosts) do
		if usermanager.is_admin(username .. "@" .. host, name) then
			return true
		end
	end
	return false
end

-- SASL ---------------------------------------------------------------------------------------------------

-- The identities and the ticket of a PLAIN message; nothing if it has a password in its place. (A password that begins like
-- a ticket is taken for one; by SCRAM it works.)
local function split_message(message)
	return (message or ""):match("^([^%z]*)%z([^%z]+)%z(vt1%.[^%z]*)$")
end

-- On the wire every refusal is the same; the log knows the reason.
local function refuse(username, reason)
	module:log("info", "Refused a ticket for %s@%s: %s", username, host, reason)
	return "failure", "not-authorized"
end

local function process_ticket(handler, session, authzid, authcid, ticket)
	local prepared = saslprep(authcid)
	local username = prepared and nodeprep(prepared)
	if not username or username == "" then
		return "failure", "malformed-request"
	end
	if authzid ~= "" and jid_prep(authzid) ~= username .. "@" .. host then
		return "failure", "invalid-authzid"
	end
	local good, reason = check_ticket(ticket, username, session.ip)
	if not good then
		return refuse(username, reason)
	end
	if not allow_admins and is_admin(username) then
		return refuse(username, "this is an administrator, and vestibule_allow_admins is not set")
	end
	if not ensure_account(username, session) then
		return "failure", "temporary-auth-failure"
	end
	handler.username = username
	return "success"
end

-- Teaches one SASL handler of the fallback, of whatever kind it is, to take tickets.
local function accept_tickets(handler, session)
	local mechanisms, select, process = handler.mechanisms, handler.select, handler.process
	local clean_clone = handler.clean_clone
	local takes_passwords = mechanisms(handler).PLAIN

	function handler:mechanisms()
		local offered = mechanisms(self)
		if session.vestibule_unencrypted and encryption_required then
			offered = {}
		end
		offered.PLAIN = true
		return offered
	end

	function handler:select(mechanism)
		if mechanism == "PLAIN" and not takes_passwords then
			self.selected = "PLAIN"
			return true
		end
		return select(self, mechanism)
	end

	function handler:process(message)
		if self.selected == "PLAIN" then
			local authzid, authcid, ticket = split_message(message)
			if ticket then
				return process_ticket(self, session, authzid, authcid, ticket)
			end
			if not takes_passwords then
				return "failure", "not-authorized"
			end
		end
		return process(self, message)
	end

	function handler:clean_clone()
		return accept_tickets(clean_clone(self), session)
	end

	return handler
end

-- PLAIN without TLS --------------------------------------------------------------------------------------

-- mod_saslauth neither offers nor takes PLAIN on a stream without TLS. On the same machine a ticket may come
-- without, a password still may not: so the stream counts as secure while the mechanisms are written
-- and while a ticket is read, and no longer, whatever becomes of that: a stream outlives an error in a handler.
local function as_secure(session, handlers, name, event)
	local secure = session.secure
	session.secure, session.vestibule_unencrypted = true, true
	local ran, result = pcall(handlers, name, event)
	session.secure, session.vestibule_unencrypted = secure, nil
	if not ran then
		error(result, 0)
	end
	return result
end

local function is_unencrypted_edge(session)
	return session.type == "c2s_unauthed" and not session.secure and is_within(unencrypted_networks, session.ip)
end

module:wrap_event("stream-features", function (handlers, name, event)
	if is_unencrypted_edge(event.origin) then
		return as_secure(event.origin, handlers, name, event)
	end
	return handlers(name, event)
end)

module:wrap_event("stanza/urn:ietf:params:xml:ns:xmpp-sasl:auth", function (handlers, name, event)
	local auth = event.stanza
	if auth.attr.mechanism == "PLAIN" and is_unencrypted_edge(event.origin)
	and split_message(base64.decode(auth:get_text() or "")) then
		return as_secure(event.origin, handlers, name, event)
	end
	return handlers(name, event)
end)

-- The provider -------------------------------------------------------------------------------------------

local provider = {}

function provider.get_sasl_handler(session)
	return accept_tickets(fallback().get_sasl_handler(session), session)
end

-- All else, passwords above all, is the fallback's. A ticket is no password: only SASL takes it.
for name, value in pairs(fallback()) do
	if type(value) == "function" and not provider[name] then
		provider[name] = function (...)
			return fallback()[name](...)
		end
	end
end

module:provides("auth", provider)
