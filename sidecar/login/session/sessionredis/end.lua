-- Ends a session. KEYS: session. ARGV: prefix, id. Returns 1 if there was one.
local s = load(ARGV[2])
if not s or ended(s) then return 0 end
finish(ARGV[2], s)
return 1
