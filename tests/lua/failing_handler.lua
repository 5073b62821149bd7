-- mod_auth_vestibule when a handler of another module throws: a stream without TLS does not stay taken for one with it.
--
-- Takes the path of the module. Prosody's libraries are the real ones, its module API is played here.

local path = ...
package.path = "/usr/lib/prosody/?.lua;" .. package.path
package.cpath = "/usr/lib/prosody/?.so;" .. package.cpath

local base64 = require "util.encodings".base64

package.preload["core.usermanager"] = function () return { is_admin = function () return false end } end

local host = "xmpp.localhost"
prosody = { hosts = { [host] = { sessions = {} } }, paths = {} }

local OPTIONS = { vestibule_secret = "a secret that only the tests know", vestibule_fallback = "none" }
local function option(_, name, default)
	if OPTIONS[name] ~= nil then return OPTIONS[name] end
	return default
end
local function list(...)
	local value = option(...)
	return type(value) == "table" and value or { value }
end
local function nothing() end

local wrapped = {}
module = {
	host = host, hook_global = nothing, fire_event = nothing, provides = nothing, log = nothing,
	get_option_string = option, get_option_boolean = option, get_option_number = option, get_option_array = list,
	wrap_event = function (_, name, wrapper) wrapped[name] = wrapper end,
}
assert(loadfile(path))()

local auth = {
	attr = { mechanism = "PLAIN" },
	get_text = function () return base64.encode("\0bob\0vt1.ticket") end,
}

for _, event in ipairs { "stream-features", "stanza/urn:ietf:params:xml:ns:xmpp-sasl:auth" } do
	local session = { type = "c2s_unauthed", ip = "127.0.0.1", secure = false }
	local problem = { "the very error" }
	local was_secure
	local ran, thrown = pcall(wrapped[event], function ()
		was_secure = session.secure
		error(problem)
	end, event, { origin = session, stanza = auth })

	assert(was_secure, event .. ": the handlers are to see a secure stream")
	assert(not ran and thrown == problem, event .. ": the error was swallowed or changed")
	assert(session.secure == false, event .. ": the stream is still taken for secure")
	assert(session.vestibule_unencrypted == nil, event)
end

print("as it should be")
