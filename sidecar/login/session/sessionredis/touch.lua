-- Returns an active session, and records its use. KEYS: session. ARGV: prefix, id, coalesce (negative to
-- record nothing), share. Returns outcome, session.
local s = load(ARGV[2])
if not s or ended(s) then return {'ended'} end
if tonumber(ARGV[3]) >= 0 then touch(ARGV[2], s, tonumber(ARGV[3]), tonumber(ARGV[4])) end
return {'ok', flat(ARGV[2], s)}
