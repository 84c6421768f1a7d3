-- Keeps the last passwords of an account in KEYS[1], a hash: c is the time of the last change, h its hashes with line breaks between
-- them, the latest first, w the time at which a window of comparisons began, and n their number in it.
-- ARGV[1] is the operation: "look", "delete", "old" with the limit and the window in milliseconds, or "add" with a hash, how many to keep, and the
-- time to live in milliseconds.
local key = KEYS[1]

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function text(n) return string.format('%.0f', n) end

local at = now()

if ARGV[1] == 'look' then
  local v = redis.call('HMGET', key, 'h', 'c')
  local _, kept = string.gsub(v[1] or '', '[^\n]+', '')
  return {kept, v[2] or ''}
end

if ARGV[1] == 'delete' then return {redis.call('DEL', key), ''} end

if ARGV[1] == 'add' then
  local keep = tonumber(ARGV[3])
  local kept = {}
  if keep > 0 then
    kept[1] = ARGV[2]
    for hash in string.gmatch(redis.call('HGET', key, 'h') or '', '[^\n]+') do
      if #kept < keep then kept[#kept + 1] = hash end
    end
  end
  redis.call('HSET', key, 'c', text(at), 'h', table.concat(kept, '\n'))
  redis.call('PEXPIRE', key, ARGV[4])
  return {0, ''}
end

local limit, window = tonumber(ARGV[2]), tonumber(ARGV[3])
local v = redis.call('HMGET', key, 'h', 'w', 'n')
local hashes = v[1] or ''
if hashes == '' then return {0, ''} end
local began, count = tonumber(v[2]) or 0, tonumber(v[3]) or 0
if at >= began + window or at < began then began, count = at, 0 end -- also if the clock was set back
if count >= limit then return {began + window - at, ''} end
redis.call('HSET', key, 'w', text(began), 'n', text(count + 1))
return {0, hashes}
