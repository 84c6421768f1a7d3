-- Moves one entry aside.
-- KEYS[1] is the stream, KEYS[2] that of rejected entries. ARGV: group, id, the bound of rejected entries, their expiry in milliseconds, then
-- the fields to keep. Returns 1, or 0 if Redis has no memory to keep the fields; the entry is removed in both cases.
local fields = {}
for i = 5, #ARGV do
  fields[#fields + 1] = ARGV[i]
end
local kept = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', unpack(fields))
local ok = 0
if type(kept) == 'string' then
  ok = 1
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
return ok
