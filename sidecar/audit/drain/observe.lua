-- Returns the length of a stream, the number of entries that were read and not settled, the age of the first entry in milliseconds, and the
-- memory of the stream in bytes.
-- It also removes consumers that have nothing and did nothing for a while: names of pods are never used again.
-- KEYS[1] is the stream. ARGV[1] is the group, ARGV[2] the time in milliseconds after which a consumer is removed.
local length = redis.call('XLEN', KEYS[1])
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {0, 0, 0, 0}
end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1])[1]
local age = 0
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if first then
  local now = redis.call('TIME')
  age = math.max(0, now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(string.match(first[1], '^%d+')))
end
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local is = {}
  for i = 1, #consumer, 2 do
    is[consumer[i]] = consumer[i + 1]
  end
  if is['pending'] == 0 and is['idle'] > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], is['name'])
  end
end
return {length, pending, age, redis.call('MEMORY', 'USAGE', KEYS[1])}
