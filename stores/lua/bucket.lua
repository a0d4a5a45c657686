-- A token bucket: take up to `wanted` tokens, or give some back (wanted < 0).
-- KEYS[1] the bucket: a hash of `tokens` and `at` (ms). ARGV: burst, tokens per minute, wanted.
-- Returns how many were granted, and in how many ms the next one is there.
local burst, per_ms, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]) / 60000, tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(kept[1]) or burst, tonumber(kept[2]) or now

tokens = math.min(burst, tokens + math.max(0, now - at) * per_ms)
local granted = math.min(wanted, math.floor(tokens))
tokens = math.min(burst, tokens - granted)

redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', now)
-- Once it would be full again it need not be kept.
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - tokens) / per_ms) + 1000)
return {granted, math.max(0, math.ceil((1 - tokens) / per_ms))}
