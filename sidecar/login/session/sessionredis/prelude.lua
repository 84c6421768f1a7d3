-- What every script of this package begins with. Times are whole microseconds, below 2^53: doubles are exact.
-- KEYS[1] is the session's or the owner's key. ARGV[1] is what the keys of sessions begin with; all share one hash tag.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local prefix = ARGV[1]
-- The last two of ARGV are the longest idle and absolute timeout of the present policy; 0 for none.
local most_idle, most_absolute = tonumber(ARGV[#ARGV - 1]), tonumber(ARGV[#ARGV])
-- So many ended sessions of an owner are remembered, the latest.
local most_ended = 256

-- int writes a number with all its digits.
local function int(n) return string.format('%.0f', n) end

local function expire(key, micros) redis.call('PEXPIRE', key, int(math.ceil(micros / 1000))) end

-- shorten has a session keep to the present timeouts, where they are shorter than those of its login.
local function shorten(s)
  if most_idle > 0 then s.idle = int(math.min(tonumber(s.idle), most_idle)) end
  if most_absolute > 0 then s.absolute = int(math.min(tonumber(s.absolute), tonumber(s.created) + most_absolute)) end
  s.expires = int(math.min(tonumber(s.expires), tonumber(s.seen) + tonumber(s.idle), tonumber(s.absolute)))
end

-- load returns a session's fields, or nil.
local function load(id)
  local flat = redis.call('HGETALL', prefix .. id)
  if #flat == 0 then return nil end
  local s = {}
  for i = 1, #flat, 2 do s[flat[i]] = flat[i + 1] end
  if tonumber(s.forget) <= now then return nil end
  shorten(s)
  return s
end

-- keep lets a session be forgotten in micros.
local function keep(id, micros)
  redis.call('HSET', prefix .. id, 'forget', int(now + micros))
  expire(prefix .. id, micros)
end

-- ended returns when a session ended, or nil while it goes on.
local function ended(s)
  local at = tonumber(s.ended or s.expires)
  if at <= now then return at end
  return nil
end

-- slide records that the session is seen now.
local function slide(id, s)
  s.seen = int(now)
  s.expires = int(math.min(now + tonumber(s.idle), tonumber(s.absolute)))
  redis.call('HSET', prefix .. id, 'seen', s.seen, 'expires', s.expires)
  keep(id, tonumber(s.expires) - now + tonumber(s.linger))
end

-- full tells the error of a server that reads and takes no writes: it is out of memory, of disk, or of replicas. A replica that
-- was a master is none of that.
local function full(err)
  local text = type(err) == 'table' and err.err or tostring(err)
  return string.find(text, 'OOM', 1, true) or string.find(text, 'MISCONF', 1, true) or string.find(text, 'NOREPLICAS', 1, true)
end

-- attempt writes what may stay undone where nothing can be written, and reports whether it was done.
local function attempt(write, ...)
  local ok, err = pcall(write, ...)
  if not ok and not full(err) then error(err, 0) end
  return ok
end

-- touch slides unless the session was seen less than micros ago, cut to the session's own share. One that cannot be written
-- goes on as it was: a full Redis must not log everybody out.
local function touch(id, s, micros, share)
  if now - tonumber(s.seen) < math.min(micros, math.floor(tonumber(s.idle) / share)) then return end
  local seen, expires = s.seen, s.expires
  if not attempt(slide, id, s) then s.seen, s.expires = seen, expires end
end

-- remember counts an ended session of an outside issuer, and forgets the oldest beyond the bound.
local function remember(id, s)
  local key = s.owner .. ':ended'
  redis.call('ZADD', key, int(now), id)
  if redis.call('PTTL', key) < tonumber(s.linger) / 1000 then expire(key, tonumber(s.linger)) end
  for _, old in ipairs(redis.call('ZRANGE', key, 0, -most_ended - 1)) do
    local forgotten = load(old)
    if forgotten and forgotten.owner == s.owner and ended(forgotten) then redis.call('DEL', prefix .. old) end
    redis.call('ZREM', key, old)
  end
end

-- finish ends a session. One of an outside issuer is remembered, or the next request would begin it anew.
local function finish(id, s)
  redis.call('ZREM', s.owner, id)
  if s.external ~= '1' then
    redis.call('DEL', prefix .. id)
    return
  end
  redis.call('HSET', prefix .. id, 'ended', int(now))
  redis.call('HDEL', prefix .. id, 'claims', 'userAgent', 'agent', 'browser', 'os', 'address')
  keep(id, tonumber(s.linger))
  remember(id, s)
end

-- retire takes what has ended, or has become another owner's, from an owner; s is nil for what is forgotten. What ended by a
-- timeout that was shortened does not come back when that is longer again: no owner would have it.
local function retire(owner, id, s)
  if s and s.owner == owner then
    redis.call('HSET', prefix .. id, 'expires', s.expires)
    if s.external == '1' then remember(id, s) end
  end
  redis.call('ZREM', owner, id)
end

-- live returns the owner's sessions that have not ended, the oldest first, as {id, fields}; it forgets the others. An id of
-- an outside issuer may have become another owner's.
local function live(owner)
  local found = {}
  for _, id in ipairs(redis.call('ZRANGE', owner, 0, -1)) do
    local s = load(id)
    if s and s.owner == owner and not ended(s) then
      found[#found + 1] = {id, s}
    else
      attempt(retire, owner, id, s)
    end
  end
  return found
end

-- flat returns a session's fields for the caller.
local function flat(id, s)
  local reply = {'id', id}
  for name, value in pairs(s) do
    reply[#reply + 1] = name
    reply[#reply + 1] = value
  end
  return reply
end
