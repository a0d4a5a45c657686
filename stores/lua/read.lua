-- Gives out a position, and what is kept above one: epoch, offset, floor and entries of one moment.
-- ARGV  5 epoch to begin with where there is none ('' : don't)  6 newest seq to begin with
--       7 epoch of `after` ('' : no entries wanted)  8 after  9 entries at most
-- Answers {} where there is no epoch and none was to be made, else {epoch, offset, floor, reached, line ...}.
-- `reached` is the offset up to which the answer is whole; without entries wanted, or where they can't be given, it is
-- the offset itself.

if not epoch then
  if ARGV[5] == '' then
    return {}
  end
  begin(ARGV[5], tonumber(ARGV[6]))
end
trim()
save()

local after, most = tonumber(ARGV[8]), tonumber(ARGV[9])
local answer = {epoch, digits(offset), digits(floor), digits(offset)}
if ARGV[7] == epoch and after >= floor and after < offset then
  local lines = redis.call('ZRANGEBYSCORE', LOG, '(' .. digits(after), '+inf', 'LIMIT', 0, most)
  for i = 1, #lines do
    answer[4 + i] = lines[i]
  end
  if #lines == most then
    answer[4] = string.match(lines[most], '^%d+')
  end
end
return answer
