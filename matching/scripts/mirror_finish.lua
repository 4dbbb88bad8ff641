#!lua flags=allow-oom
-- Replaces the current mirror with the new one, in one step for its readers.
--
-- KEYS  1 build, 2 staged bids, 3 staged asks, 4 sequence, 5 bids, 6 asks
-- ARGV  1 the build's name, 2 the book's sequence, 3 and 4 the number of levels of bids and of asks
-- Returns 1. If another build has begun, this build has expired, or levels are missing, returns 0
-- and changes nothing.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for side = 0, 1 do
    if redis.call('ZCARD', KEYS[2 + side]) ~= tonumber(ARGV[3 + side]) then return 0 end
end
redis.call('UNLINK', KEYS[1], KEYS[5], KEYS[6])
for side = 0, 1 do
    if ARGV[3 + side] ~= '0' then
        redis.call('RENAME', KEYS[2 + side], KEYS[5 + side])
        redis.call('PERSIST', KEYS[5 + side])
    end
end
redis.call('SET', KEYS[4], ARGV[2])
return 1
