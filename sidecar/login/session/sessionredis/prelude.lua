-- The start of every script of this package. Times are whole microseconds, below 2^53: doubles are exact.
-- KEYS[1] is the session's or the owner's key. ARGV[1] is the prefix of session keys. All keys share one hash tag.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local prefix = ARGV[1]
-- The last two of ARGV are the maximum idle and absolute timeout of the current policy; 0 for none.
local most_idle, most_absolute = tonumber(ARGV[#ARGV - 1]), tonumber(ARGV[#ARGV])
-- The number of ended sessions of an owner that are stored, the latest.
local most_ended = 256

-- int writes a number with all its digits.
local function int(n) return string.format('%.0f', n) end

local function expire(key, micros) redis.call('PEXPIRE', key, int(math.ceil(micros / 1000))) end

-- shorten applies the current timeouts to a session if they are shorter than those of its login.
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

-- keep sets the expiry of a session to micros from now.
local function keep(id, micros)
  redis.call('HSET', prefix .. id, 'forget', int(now + micros))
  expire(prefix .. id, micros)
end

-- ended returns when a session ended, or nil while it is active.
local function ended(s)
  local at = tonumber(s.ended or s.expires)
  if at <= now then return at end
  return nil
end

-- slide records the use of the session.
local function slide(id, s)
  s.seen = int(now)
  s.expires = int(math.min(now + tonumber(s.idle), tonumber(s.absolute)))
  redis.call('HSET', prefix .. id, 'seen', s.seen, 'expires', s.expires)
  keep(id, tonumber(s.expires) - now + tonumber(s.linger))
end

-- full recognises the error of a server that cannot write because of memory, disk or missing replicas. The error of a former master
-- that is now a replica is not one of these.
local function full(err)
  local text = type(err) == 'table' and err.err or tostring(err)
  return string.find(text, 'OOM', 1, true) or string.find(text, 'MISCONF', 1, true) or string.find(text, 'NOREPLICAS', 1, true)
end

-- attempt makes a write that is optional if the server cannot write, and reports whether it succeeded.
local function attempt(write, ...)
  local ok, err = pcall(write, ...)
  if not ok and not full(err) then error(err, 0) end
  return ok
end

-- touch slides unless the session was used less than micros ago, limited to the session's own share. If the write fails the session
-- stays as it was: a full Redis must not log everyone out.
local function touch(id, s, micros, share)
  if now - tonumber(s.seen) < math.min(micros, math.floor(tonumber(s.idle) / share)) then return end
  local seen, expires = s.seen, s.expires
  if not attempt(slide, id, s) then s.seen, s.expires = seen, expires end
end

-- remember stores an ended external session, and drops the oldest ones above the bound.
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

-- anonymise removes from an ended external session everything but what keeps it ended. Its key and that of its owner are hashes.
local function anonymise(id)
  redis.call('HDEL', prefix .. id, 'claims', 'userAgent', 'agent', 'browser', 'os', 'address', 'issuer', 'subject')
end

-- finish ends a session. An ended external session is stored, because the next request would begin it again.
local function finish(id, s)
  redis.call('ZREM', s.owner, id)
  if s.external ~= '1' then
    redis.call('DEL', prefix .. id)
    return
  end
  redis.call('HSET', prefix .. id, 'ended', int(now))
  anonymise(id)
  keep(id, tonumber(s.linger))
  remember(id, s)
end

-- retire removes from an owner a session that has ended or belongs to another owner now; s is nil if it is no longer stored. A session
-- that ended by a shortened timeout stays ended when the timeout becomes longer again, because no owner lists it.
local function retire(owner, id, s)
  if s and s.owner == owner then
    redis.call('HSET', prefix .. id, 'expires', s.expires)
    if s.external == '1' then
      anonymise(id)
      remember(id, s)
    end
  end
  redis.call('ZREM', owner, id)
end

-- live returns the owner's active sessions, the oldest first, as {id, fields}, and retires the others. An external id can belong to
-- another owner now.
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
