-- Decides on all of a request's limits, then counts them, as ratelimit.Store asks and as package gcra computes.
-- KEYS: one for each limit. ARGV: for each limit its emission in microseconds, its burst, and 1 for shadow.
-- Returns for each limit: 1 if it had quota left, and the microseconds of it that are used afterwards.
-- Every value is a whole number below 2^53, so doubles are exact.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local arrivals = redis.call('MGET', unpack(KEYS))

local emission, used, allowed, refused = {}, {}, {}, false
for i = 1, #KEYS do
  emission[i] = tonumber(ARGV[3 * i - 2])
  local span = emission[i] * tonumber(ARGV[3 * i - 1])
  local arrival = arrivals[i] and tonumber(arrivals[i]) or 0
  used[i] = math.min(math.max(arrival - now, 0), span)
  allowed[i] = used[i] + emission[i] <= span
  if not allowed[i] and ARGV[3 * i] ~= '1' then
    refused = true
  end
end

local reply = {}
for i = 1, #KEYS do
  if allowed[i] and not refused then
    used[i] = used[i] + emission[i]
    -- A number would be written with 14 digits.
    redis.call('SET', KEYS[i], string.format('%.0f', now + used[i]), 'PX', string.format('%.0f', math.ceil(used[i] / 1000)))
  end
  reply[2 * i - 1] = allowed[i] and 1 or 0
  reply[2 * i] = used[i]
end
return reply
