-- Moves a book's mirror from one sequence to the next, whole or not at all.
--
-- KEYS  1 sequence, 2 bids, 3 asks, 4 epoch
-- ARGV  1 the sequence that the mirror must have, 2 the new one, 3 the writer's epoch, then for each level:
--       'b' or 'a', price in ticks, member ('' where the level is gone)
-- Returns 1, or 0 where the mirror has another sequence and was left as it is.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 4, #ARGV, 3 do
    local key = ARGV[i] == 'b' and KEYS[2] or KEYS[3]
    redis.call('ZREMRANGEBYSCORE', key, ARGV[i + 1], ARGV[i + 1])
    if ARGV[i + 2] ~= '' then redis.call('ZADD', key, ARGV[i + 1], ARGV[i + 2]) end
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('SET', KEYS[4], ARGV[3])
return 1
