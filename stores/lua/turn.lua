-- Takes the turn to append to a conversation, unless somebody else has it. ARGV 5 holder  6 for how long, ms
-- Answers the turn as it is now, "holder:ms left"; '' where the topic has no epoch, and so no order to keep.

if not epoch then
  return {}
end
local now_held = turn()
if now_held == '' then
  redis.call('HSET', META, 'turn', ARGV[5] .. ':' .. digits(now + tonumber(ARGV[6])))
  now_held = ARGV[5] .. ':' .. ARGV[6]
end
return {now_held}
