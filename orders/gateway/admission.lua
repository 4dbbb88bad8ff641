-- Admits commands to a partition's stream, many in one atomic step: nothing can change between the
-- checks and the append.
--
-- KEYS  1 the stream, 2 the worker's heartbeat, then one rate limit key for each command. If a
--       command counts against no limit, its key is the stream's.
-- ARGV  1 the kinds of the commands, one letter for each
--       2 the maximum length of the stream for orders, 3 the maximum length for other commands
--       4 the rate limit of orders, 5 the rate limit of cancels
--       6 the length of the limits' window in milliseconds (0: no limits)
--       7 the number of keys in the server at which new clients are no longer counted
--       then the commands
-- Kinds: 'o' an order, 'c' another command: a cancel or an operator's command. 'O' and 'C' count
--       against the limit of orders or cancels, but append nothing; their command is empty.
-- Returns three integers for each command: the verdict, the remaining requests, and the
--       milliseconds until more are allowed.
-- Verdicts: 0 admitted, 1 rate limited, 2 queue full, 3 no worker is matching, 4 the server refused
--       the append.
--
-- The rate limit is a sliding window counter. The count of the previous fixed window is multiplied
-- by the part of that window that the sliding window still covers. The method is described in "How
-- we built rate limiting capable of scaling to millions of domains" (Cloudflare, 2017). It needs
-- two counters for each client, whatever the limit is.
--
-- A server without free memory refuses the append. For cancels, orders/gateway/admission.py runs
-- this script with a flag that allows the append.

local stream, heartbeat = KEYS[1], KEYS[2]
local kinds = ARGV[1]
local length_max = {o = tonumber(ARGV[2]), c = tonumber(ARGV[3])}
local limits = {o = tonumber(ARGV[4]), c = tonumber(ARGV[5])}
limits.O, limits.C = limits.o, limits.c
local window, keys_max = tonumber(ARGV[6]), tonumber(ARGV[7])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local matching = redis.call('EXISTS', heartbeat) == 1
local length = redis.call('XLEN', stream)
local answer = {}

local function counters(key)
    local index = math.floor(now / window)
    local stored = redis.call('HMGET', key, 'index', 'current', 'previous')
    local age = index - (tonumber(stored[1]) or index)
    local current, previous = tonumber(stored[2]) or 0, tonumber(stored[3]) or 0
    if age == 1 then current, previous = 0, current elseif age ~= 0 then current, previous = 0, 0 end
    return index, current, previous, not stored[1]
end

-- Returns the milliseconds until one more request is allowed.
local function wait(limit, current, previous, elapsed)
    if current < limit then
        return math.ceil(window * (1 - (limit - current - 1) / previous)) - elapsed
    end
    return (window - elapsed) + math.ceil(window * (1 - (limit - 1) / current))
end

for number = 1, #kinds do
    local verdict, remaining, reset = 0, 0, 0
    local kind = string.sub(kinds, number, number)
    local appends = length_max[kind]
    local limit = limits[kind]
    local key, index, current, previous, is_new = KEYS[number + 2]
    local limited = window > 0 and key ~= stream
    if appends and not matching then
        verdict = 3
    elseif appends and length >= appends then
        verdict = 2
    elseif limited then
        index, current, previous, is_new = counters(key)
        local elapsed = now - index * window
        local used = previous * (1 - elapsed / window) + current
        if used + 1 > limit then
            verdict, reset = 1, math.max(1, wait(limit, current, previous, elapsed))
        else
            remaining, reset = math.floor(limit - used - 1), window - elapsed
        end
    end
    if verdict == 0 and appends then
        if type(redis.pcall('XADD', stream, '*', 'c', ARGV[number + 7])) == 'table' then
            verdict = 4
        else
            length = length + 1
        end
    end
    if verdict == 0 and limited and not (is_new and redis.call('DBSIZE') >= keys_max) then
        -- If there is no memory for the counter, the command is not counted. PEXPIRE needs no
        -- memory, and once a script has made such a write, the server no longer refuses the
        -- script's other writes. PEXPIRE is therefore run only after HSET has succeeded.
        local counted = redis.pcall('HSET', key, 'index', index, 'current', current + 1, 'previous', previous)
        if type(counted) == 'number' then redis.pcall('PEXPIRE', key, 2 * window) end
    end
    answer[#answer + 1] = verdict
    answer[#answer + 1] = remaining
    answer[#answer + 1] = reset
end
return answer
