-- Returns when each key version was first read by any replica, in microseconds since 1970, as text.
-- KEYS: one for each version. ARGV: the expiry in seconds, then the date that the caller knows for each version, 0 for none.
local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', tonumber(time[2]))
local dates = {}
for i, key in ipairs(KEYS) do
  local date = redis.call('GET', key)
  if not date then
    date = ARGV[i + 1]
    if date == '0' then
      date = now
    end
  end
  redis.call('SET', key, date, 'EX', ARGV[1])
  dates[i] = date
end
return dates
