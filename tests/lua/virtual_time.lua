-- mod_auth_vestibule on a clock that the test turns: what it remembers of used tickets, for how long, and how many.
--
-- Takes the path of the module. Prosody's libraries are the real ones, its module API is played here.

local path = ...
package.path = "/usr/lib/prosody/?.lua;" .. package.path
package.cpath = "/usr/lib/prosody/?.so;" .. package.cpath

local base64 = require "util.encodings".base64
local hmac_sha256 = require "util.hashes".hmac_sha256

local START = 1700000000
local SECRET = "a secret that only the tests know"
local LIFETIME = 60 -- the longest that the module allows
local OPTIONS = { vestibule_secret = SECRET, vestibule_fallback = "none" }

local now
package.preload["util.time"] = function () return { now = function () return now end } end
package.preload["core.usermanager"] = function () return { is_admin = function () return false end } end

local host = "xmpp.localhost"
prosody = { hosts = { [host] = { sessions = {} } }, paths = {} }

-- Loads the module at the start of time; returns a function that shows it a ticket.
local function load_module()
	local provider, reason
	local function option(_, name, default)
		if OPTIONS[name] ~= nil then return OPTIONS[name] end
		return default
	end
	local function list(...)
		local value = option(...)
		return type(value) == "table" and value or { value }
	end
	local function nothing() end
	module = {
		host = host, hook_global = nothing, wrap_event = nothing, fire_event = nothing,
		get_option_string = option, get_option_boolean = option, get_option_number = option, get_option_array = list,
		provides = function (_, _, item) provider = item end,
		log = function (_, _, format, ...) reason = format:format(...):match(": (.*)$") end,
	}
	now = START
	assert(loadfile(path))()
	return function (ticket)
		local handler = provider.get_sasl_handler({ ip = "127.0.0.1" })
		handler:select("PLAIN")
		reason = nil
		local status = handler:process("\0bob\0" .. ticket)
		return status == "success", reason
	end
end

local count = 0
local function mint(lifetime)
	count = count + 1
	local issued = ("%.0f"):format(now * 1000)
	local expires = ("%.0f"):format((now + lifetime) * 1000)
	local nonce = ("nonce-%016d"):format(count)
	local text = table.concat({ "vt1", "bob", host, issued, expires, nonce }, "\0")
	local mac = base64.encode(hmac_sha256(SECRET, text)):gsub("[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" })
	return table.concat({ "vt1", issued, expires, nonce, mac }, ".")
end

-- At whatever moment a ticket is used, it is never good again: it is remembered until it has expired.
for age = 0, 150, 7 do
	local show = load_module()
	now = START + age
	local edge_clock = age % 2 == 0 and 5 or -5 -- ahead or behind by all that is allowed
	now = now + edge_clock
	local ticket = mint(LIFETIME)
	now = now - edge_clock
	if age + edge_clock >= 0 then
		assert(show(ticket), "a good ticket was refused")
	end
	for _ = 1, 200 do
		now = now + 1
		-- Other sign-ins turn the generations over meanwhile.
		assert(show(mint(10)), "another good ticket was refused")
		local good, reason = show(ticket)
		assert(not good, "a used ticket was believed again")
		assert(reason:match("^it was used before") or reason:match("^it expired") or reason:match("server started"), reason)
	end
end

-- A flood makes it refuse rather than forget, and passes.
local show = load_module()
local first = mint(LIFETIME)
assert(show(first))
module.save().used.count = 199999 -- as after that many tickets
assert(show(mint(LIFETIME)), "the last that can be remembered was refused")
local good, reason = show(mint(LIFETIME))
assert(not good and reason:match("^too many tickets"), reason)
assert(select(2, show(first)) == "it was used before")
now = now + LIFETIME + 2 * 5
assert(show(mint(LIFETIME)), "the flood is over")

print("as it should be")
