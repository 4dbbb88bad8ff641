-- Adds levels to a mirror that is being built. It runs with and without the flag allow-oom: see matching/mirror.py.
--
-- KEYS  1 build, 2 staged bids or staged asks
-- ARGV  1 the build's name, 2 milliseconds that it is kept, then for each level: price in ticks, member
-- Returns 1, or 0 if this is not the build any more.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('ZADD', KEYS[2], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
