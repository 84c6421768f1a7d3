-- Adds revocations. KEYS: meta, entries, expiry, stream. ARGV: a random name, the length of the stream, and for each entry: id, expires
-- and before in microseconds, and what it revokes. Returns generation and sequence.
-- An entry is 16 digits of expires, 16 of before, and what it revokes. Each change has a unique tip and the tip of its predecessor, so
-- that a reader detects every gap: trimmed, flushed, or lost in a failover.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local meta, entries, expiry, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function int(n) return string.format('%.0f', n) end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', expiry, '-inf', int(now), 'LIMIT', 0, 200)) do
  redis.call('ZREM', expiry, id)
  redis.call('HDEL', entries, id)
end

local known = redis.call('HMGET', meta, 'generation', 'sequence', 'tip', 'offset')
local generation, sequence, tip, offset = known[1] or ARGV[1], tonumber(known[2] or 0), known[3] or '', known[4] or '0-0'

for i = 3, #ARGV, 4 do
  local id, expires, before = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local old = redis.call('HGET', entries, id)
  local news = expires > now
  if old and news then
    local oldExpires, oldBefore = tonumber(string.sub(old, 1, 16)), tonumber(string.sub(old, 17, 32))
    news = expires > oldExpires or before > oldBefore
    expires, before = math.max(expires, oldExpires), math.max(before, oldBefore)
  end
  if news then
    local entry = string.format('%016.0f%016.0f', expires, before) .. ARGV[i + 3]
    redis.call('HSET', entries, id, entry)
    redis.call('ZADD', expiry, int(expires), id)
    local last = tip
    sequence, tip = sequence + 1, ARGV[1] .. '.' .. i
    offset = redis.call('XADD', stream, 'MAXLEN', '~', ARGV[2], '*',
      'generation', generation, 'sequence', int(sequence), 'last', last, 'tip', tip, 'entry', entry)
  end
end
redis.call('HSET', meta, 'generation', generation, 'sequence', int(sequence), 'tip', tip, 'offset', offset)

-- All keys expire an hour after the last entry.
local last = redis.call('ZREVRANGE', expiry, 0, 0, 'WITHSCORES')[2]
local ttl = int(math.ceil((math.max(tonumber(last or 0) - now, 0)) / 1000) + 3600000)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ttl) end
return {generation, int(sequence)}
