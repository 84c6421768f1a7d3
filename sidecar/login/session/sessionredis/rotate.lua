-- Rotates a refresh token. KEYS: session. ARGV: prefix, id, hash of the proof, hash of the secret, salt, hash of the
-- successor, grace, the field of the device to compare (or none) and its value, and the maximum number of stored turns. Returns
-- outcome, session, salts.
-- Comparing hashes of secrets takes constant time: Lua interns strings and compares addresses. Besides, a client cannot choose the
-- hash of the secret that it sends.
local id, hash, grace = ARGV[2], ARGV[4], tonumber(ARGV[7])
local s = load(id)
if not s or s.proof ~= ARGV[3] then return {'unknown'} end
if ended(s) then return {'expired', flat(id, s)} end

-- A turn is 43 characters of the token's hash, 16 digits of when it was rotated, and 43 of the salt.
local width = 102
local turns, salts, outcome = s.turns or '', {}, nil
if hash == s.current then
  outcome = 'rotated'
else
  for at = 1, #turns, width do
    local recent = now < tonumber(string.sub(turns, at + 43, at + 58)) + grace
    if outcome or (recent and string.sub(turns, at, at + 42) == hash) then
      outcome = 'retried'
      salts[#salts + 1] = string.sub(turns, at + 59, at + 101)
    end
  end
end
if not outcome then
  finish(id, s)
  return {'reused', flat(id, s)}
end
if ARGV[8] ~= '' and (s[ARGV[8]] or '') ~= ARGV[9] then return {'bound', flat(id, s)} end

if outcome == 'rotated' then
  turns = turns .. hash .. string.format('%016.0f', now) .. ARGV[5]
  while #turns > 0 and (#turns > ARGV[10] * width or tonumber(string.sub(turns, 44, 59)) + grace <= now) do
    turns = string.sub(turns, width + 1)
  end
  s.current, s.turns, salts = ARGV[6], turns, {ARGV[5]}
  redis.call('HSET', KEYS[1], 'current', s.current, 'turns', turns)
end
slide(id, s)
return {outcome, flat(id, s), salts}
