-- Appends entries to a stream, all or none.
-- KEYS[1] is the stream. ARGV[1] is the bound of its length, ARGV[2] its expiry in milliseconds, ARGV[3] the days to retain the items. For each
-- entry follow its kind and its payload. Returns the length of the stream, or -1 if the entries have no room.
local count = (#ARGV - 3) / 2
local length = redis.call('XLEN', KEYS[1])
if length + count > tonumber(ARGV[1]) then
  return -1
end
for i = 4, #ARGV, 2 do
  redis.call('XADD', KEYS[1], '*', 'kind', ARGV[i], 'retain', ARGV[3], 'payload', ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return length + count
