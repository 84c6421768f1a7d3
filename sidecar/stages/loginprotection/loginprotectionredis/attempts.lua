-- Counts attempts under each of KEYS. ARGV[1] is the operation ("begin", "end" or "look"), followed for each key by: limit, window, lock and longest lock in
-- milliseconds, and for "end" the outcome (f, c, r or x).
-- A key is a hash: t are the times of its failures, p those at which pending attempts began, u the end of its lock, l the number of locks.
local PENDING = 60000

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function int(s) return tonumber(s) or 0 end

local function text(n) return string.format('%.0f', n) end

local at = now()

-- near returns the times of a list less than d before now and, if the clock was set back, at most d after it.
local function near(list, d)
  local times = {}
  for t in string.gmatch(list or '', '%d+') do
    t = tonumber(t)
    if t > at - d and t <= at + d then times[#times + 1] = t end
  end
  return times
end

local function load(key, limit, window, lock, longest)
  local v = redis.call('HMGET', key, 't', 'p', 'u', 'l')
  local s = {times = near(v[1], window), pending = near(v[2], PENDING), untl = int(v[3]), locks = int(v[4])}
  if s.untl > at + longest then s.untl = at + longest end -- the clock was set back
  return s
end

local function save(key, s, window, longest)
  local keep = math.max(window, PENDING, s.untl - at)
  if s.locks > 0 then keep = keep + longest end
  if #s.times == 0 and #s.pending == 0 and s.untl <= at and s.locks == 0 then
    redis.call('DEL', key)
    return
  end
  redis.call('HSET', key, 't', table.concat(s.times, ','), 'p', table.concat(s.pending, ','), 'u', text(s.untl), 'l', s.locks)
  redis.call('PEXPIRE', key, text(keep))
end

local width = ARGV[1] == 'end' and 5 or 4
local states = {}
for i, key in ipairs(KEYS) do
  local a = 1 + (i - 1) * width
  local c = {limit = int(ARGV[a + 1]), window = int(ARGV[a + 2]), lock = int(ARGV[a + 3]), longest = int(ARGV[a + 4]), outcome = ARGV[a + 5]}
  c.state = load(key, c.limit, c.window, c.lock, c.longest)
  states[i] = c
end

if ARGV[1] == 'look' then
  local found = {}
  for _, c in ipairs(states) do
    local s = c.state
    for _, n in ipairs({#s.times, s.times[#s.times] or 0, s.locks, s.untl}) do found[#found + 1] = n end
  end
  return found
end

if ARGV[1] == 'begin' then
  local first = states[1]
  local failures = #first.state.times + first.state.locks * first.limit
  for i, c in ipairs(states) do
    local s, wait = c.state, -1
    if s.untl > at then
      wait = s.untl - at
    elseif #s.times + #s.pending >= c.limit then
      wait = 1000
      if #s.times >= c.limit then wait = s.times[#s.times - c.limit + 1] + c.window - at end
    end
    if wait >= 0 then return {0, i - 1, math.max(wait, 1), failures} end
  end
  for i, c in ipairs(states) do
    c.state.pending[#c.state.pending + 1] = at
    save(KEYS[i], c.state, c.window, c.longest)
  end
  return {1, 0, 0, failures}
end

local locked = {}
for i, c in ipairs(states) do
  local s = c.state
  locked[i] = 0
  if c.outcome ~= 'x' then table.remove(s.pending) end -- the latest: one that never ends must not look younger
  if c.outcome == 'c' or c.outcome == 'x' then
    s.times, s.untl, s.locks = {}, 0, 0
  elseif c.outcome == 'f' then
    local before = #s.times
    s.times[#s.times + 1] = at
    if c.lock == 0 and before < c.limit and #s.times >= c.limit then locked[i] = 1 end
    while #s.times > c.limit do table.remove(s.times, 1) end
    if c.lock > 0 and #s.times >= c.limit and s.untl <= at then
      s.untl = at + math.min(c.lock * 2 ^ math.min(s.locks, 30), c.longest)
      s.locks, s.times, locked[i] = s.locks + 1, {}, 1
    end
  end
  save(KEYS[i], s, c.window, c.longest)
end
return locked
