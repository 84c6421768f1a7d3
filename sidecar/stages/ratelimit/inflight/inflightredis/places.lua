-- Takes, renews or releases places. See inflight.Store. A key is a sorted set: a member is a request, and its score is when the lease
-- ends, in milliseconds of this server's clock.
-- KEYS: one per place. ARGV: the operation, the lease in milliseconds, then
--   acquire  the id of the request, and for each key its number of places and 1 for shadow. Returns 1 for each key that was not full.
--   renew    the id of each key's request.
--   release  the same.
-- Every value is a whole number below 2^53, so doubles are exact.
local operation, lease = ARGV[1], tonumber(ARGV[2])

-- Lua would write a number with 14 digits only.
local function text(number) return string.format('%.0f', number) end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function hold(key, id)
  redis.call('ZADD', key, text(now + lease), id)
  if redis.call('PTTL', key) < lease then -- sidecars of another version may have a longer lease
    redis.call('PEXPIRE', key, text(lease))
  end
end

-- Returns the number of places that are held. 1000 ended ones are removed at most, so that no script takes long.
local function held(key)
  local ended = redis.call('ZRANGEBYSCORE', key, '-inf', text(now), 'LIMIT', 0, 1000)
  if #ended > 0 then
    redis.call('ZREM', key, unpack(ended))
  end
  -- The clock was set back: do not hold places until then.
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. text(now + lease), '+inf', 'LIMIT', 0, 1000)) do
    redis.call('ZADD', key, text(now + lease), id)
  end
  return redis.call('ZCOUNT', key, '(' .. text(now), '+inf')
end

local reply = {}
if operation == 'acquire' then
  local refused = false
  for i, key in ipairs(KEYS) do
    local free = held(key) < tonumber(ARGV[2 * i + 2])
    reply[i] = free and 1 or 0
    refused = refused or not free and ARGV[2 * i + 3] ~= '1'
  end
  for i, key in ipairs(KEYS) do
    if reply[i] == 1 and not refused then
      hold(key, ARGV[3])
    end
  end
elseif operation == 'renew' then
  for i, key in ipairs(KEYS) do
    hold(key, ARGV[i + 2])
  end
else
  for i, key in ipairs(KEYS) do
    redis.call('ZREM', key, ARGV[i + 2])
  end
end
return reply
