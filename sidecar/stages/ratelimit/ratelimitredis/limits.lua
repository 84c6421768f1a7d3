-- Decides on all limits of a request, counts them, or both. See ratelimit.Store for the operations and package gcra for the arithmetic.
-- KEYS: one per limit. ARGV: the operation, then for each limit its emission in microseconds, its burst, its debt, 1
-- for shadow, as how many requests this one counts, and 1 if it is charged later. The operation is
--   take    decide on all limits, and count them unless an enforced one has no quota left or the request is charged later;
--   peek    decide, and count nothing;
--   charge  count every limit, beyond its quota up to its debt.
-- Returns for each limit: 1 if it had quota left, and how much of the quota is used afterwards, in microseconds.
-- Every value is a whole number below 2^53, so doubles are exact.
local operation = ARGV[1]

-- Lua would write a number with 14 digits only.
local function write(key, now, used)
  redis.call('SET', key, string.format('%.0f', now + used), 'PX', string.format('%.0f', math.ceil(used / 1000)))
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local arrivals = redis.call('MGET', unpack(KEYS))

local cost, most, used, allowed, refused = {}, {}, {}, {}, false
for i = 1, #KEYS do
  local emission = tonumber(ARGV[6 * i - 4])
  local span = emission * tonumber(ARGV[6 * i - 3])
  cost[i] = emission * tonumber(ARGV[6 * i])
  most[i] = span + emission * tonumber(ARGV[6 * i - 2])
  local arrival = arrivals[i] and tonumber(arrivals[i]) or 0
  used[i] = math.min(math.max(arrival - now, 0), most[i])
  -- The clock was set back, or a slower rate wrote the time: do not refuse until then (gcra.Rate.Stale).
  if arrival - now > most[i] then
    write(KEYS[i], now, used[i])
  end
  allowed[i] = used[i] + cost[i] <= span
  if not allowed[i] and ARGV[6 * i - 1] ~= '1' then
    refused = true
  end
end

local reply = {}
for i = 1, #KEYS do
  if operation == 'charge' or operation == 'take' and allowed[i] and not refused and ARGV[6 * i + 1] ~= '1' then
    used[i] = math.min(used[i] + cost[i], most[i])
    write(KEYS[i], now, used[i])
  end
  reply[2 * i - 1] = allowed[i] and 1 or 0
  reply[2 * i] = used[i]
end
return reply
