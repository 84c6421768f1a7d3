-- Begins a session, or with admit returns the existing one.
-- KEYS: session, owner. ARGV: prefix, id, absolute timeout, cap, 1 to reject at the cap, 1 to admit, authentication time,
-- coalesce, share, and then the new session's fields and values. Returns outcome, session, evicted ids.
local id, absolute, cap = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local old = load(id)
if old then
  if ARGV[6] ~= '1' then return {'exists'} end
  local at = ended(old)
  if not at then
    touch(id, old, tonumber(ARGV[8]), tonumber(ARGV[9]))
    return {'ok', flat(id, old), {}}
  end
  if tonumber(ARGV[7]) <= at then
    attempt(keep, id, absolute) -- it has ended in a full Redis, too
    return {'ended'}
  end
end

local evicted = {}
if redis.call('ZCARD', KEYS[2]) >= cap then
  local others = live(KEYS[2])
  local excess = #others + 1 - cap
  if excess > 0 and ARGV[5] == '1' then return {'full'} end
  for i = 1, excess do
    finish(others[i][1], others[i][2])
    evicted[i] = others[i][1]
  end
end

-- The ended session of this id is removed only now: a rejected login must not revive it.
if old then redis.call('ZREM', old.owner, id) end
if old then redis.call('ZREM', old.owner .. ':ended', id) end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('DEL', KEYS[1]) end
local s = {created = int(now), absolute = int(now + absolute), owner = KEYS[2]}
for i = 10, #ARGV - 2, 2 do s[ARGV[i]] = ARGV[i + 1] end
local fields = {}
for name, value in pairs(s) do
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
redis.call('HSET', KEYS[1], unpack(fields))
slide(id, s)
redis.call('ZADD', KEYS[2], s.created, id)
if redis.call('PTTL', KEYS[2]) < absolute / 1000 then expire(KEYS[2], absolute) end
return {'ok', flat(id, s), evicted}
