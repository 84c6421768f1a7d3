-- Removes entries that are in the database.
-- KEYS[1] is the stream. ARGV[1] is the group; the ids follow.
for i = 2, #ARGV do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  redis.call('XDEL', KEYS[1], ARGV[i])
end
return 1
