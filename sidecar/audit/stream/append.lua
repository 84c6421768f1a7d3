-- Appends entries to a stream, all or none.
-- KEYS[1] is the stream. ARGV[1] and ARGV[2] are the bounds of its length and of its memory in bytes, ARGV[3] its expiry in milliseconds, ARGV[4]
-- the days to retain the items. For each entry follow its kind and its payload. Returns the length of the stream, or -1 if the entries have no
-- room.
local count = (#ARGV - 4) / 2
local length = redis.call('XLEN', KEYS[1])
if length + count > tonumber(ARGV[1]) then
  return -1
end
if length > 0 and redis.call('MEMORY', 'USAGE', KEYS[1]) > tonumber(ARGV[2]) then
  return -1
end
for i = 5, #ARGV, 2 do
  redis.call('XADD', KEYS[1], '*', 'kind', ARGV[i], 'retain', ARGV[4], 'payload', ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return length + count
