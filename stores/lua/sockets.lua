-- The sockets of one user, over all processes: a sorted set of connection ids by when they run out.
-- KEYS 1 the set   ARGV 1 connection id  2 lifetime, ms  3 how many at most
-- Answers 1 where the connection is in the set now, 0 where there are too many.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
