-- Lists an owner's sessions, without claims. KEYS: owner. ARGV: prefix. Returns sessions.
local reply = {}
for i, found in ipairs(live(KEYS[1])) do
  found[2].claims = nil
  reply[i] = flat(found[1], found[2])
end
return reply
