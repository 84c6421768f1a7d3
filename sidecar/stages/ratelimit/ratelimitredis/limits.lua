-- Decides on all limits of a request, counts them, or both. See ratelimit.Store for the operations and package gcra for the arithmetic.
-- KEYS: one per limit. ARGV: the operation, then for each limit its emission in microseconds, its burst, its debt, and 1
-- for shadow. The operation is
--   take    decide on all limits, and count them unless an enforced one has no quota left;
--   peek    decide, and count nothing;
--   charge  count every limit, beyond its quota up to its debt.
-- Returns for each limit: 1 if it had quota left, and how much of the quota is used afterwards, in microseconds.
-- Every value is a whole number below 2^53, so doubles are exact.
local operation = ARGV[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local arrivals = redis.call('MGET', unpack(KEYS))

local emission, most, used, allowed, refused = {}, {}, {}, {}, false
for i = 1, #KEYS do
  emission[i] = tonumber(ARGV[4 * i - 2])
  local span = emission[i] * tonumber(ARGV[4 * i - 1])
  most[i] = span + emission[i] * tonumber(ARGV[4 * i])
  local arrival = arrivals[i] and tonumber(arrivals[i]) or 0
  used[i] = math.min(math.max(arrival - now, 0), most[i])
  allowed[i] = used[i] + emission[i] <= span
  if not allowed[i] and ARGV[4 * i + 1] ~= '1' then
    refused = true
  end
end

local reply = {}
for i = 1, #KEYS do
  if operation == 'charge' or operation == 'take' and allowed[i] and not refused then
    used[i] = math.min(used[i] + emission[i], most[i])
    -- Lua would write a number with 14 digits only.
    redis.call('SET', KEYS[i], string.format('%.0f', now + used[i]), 'PX', string.format('%.0f', math.ceil(used[i] / 1000)))
  end
  reply[2 * i - 1] = allowed[i] and 1 or 0
  reply[2 * i] = used[i]
end
return reply
