-- Ends an owner's sessions except one. KEYS: owner. ARGV: prefix, the id of the exception. Returns the ids of those ended.
local ids = {}
for _, found in ipairs(live(KEYS[1])) do
  if found[1] ~= ARGV[2] then
    finish(found[1], found[2])
    ids[#ids + 1] = found[1]
  end
end
return ids
