-- Adds levels to a mirror that is being built. matching/publish/mirror.py runs it with and without
-- the flag allow-oom.
--
-- KEYS  1 build, 2 staged bids or staged asks
-- ARGV  1 the build's name, 2 milliseconds until the build expires, then for each level: price in
--       ticks, member
-- Returns 1, or 0 if another build has begun or this one has expired.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('ZADD', KEYS[2], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
