-- Renews one process's lease, and tells which others nobody has renewed.
-- KEYS 1 the leases   ARGV 1 process id  2 stale after, ms
-- Answers {now, id, seen, id, seen ...}, times in ms.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
local answer = {string.format('%.0f', now)}
for _, part in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2], 'WITHSCORES', 'LIMIT', 0, 100)) do
  answer[#answer + 1] = part
end
return answer
