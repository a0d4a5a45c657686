-- Numbers, keeps and publishes a batch of events of one topic, in one step.
-- ARGV  5 channel, then nine an event: kind (l s e), type, actor, key, version or '', once, seq, after_seq, data
-- Answers {epoch, offset, turn, an answer an event: "ok", "old", "early:<last seq>"}; {} where nobody holds a position:
-- the events are dropped then, and the channel is poked, so that a hub that still follows asks at once.

local CHANNEL = ARGV[5]

if not epoch then
  redis.call('PUBLISH', CHANNEL, '')
  return {}
end

local answers, lines = {epoch, 0, turn()}, {epoch}

local function keep(line, mark, value)
  redis.call('ZADD', LOG, digits(offset), line)
  bytes = bytes + #line
  if mark ~= '' then
    redis.call('HSET', KNOWN, mark, value)
  end
end

local function forget(at)
  local line = redis.call('ZRANGEBYSCORE', LOG, at, at)[1]
  if line then
    redis.call('ZREM', LOG, line)
    bytes = bytes - #line
  end
end

for i = 6, #ARGV, 9 do
  local kind, type, actor, key, version, once = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  local own_seq, after_seq, data = tonumber(ARGV[i + 6]), tonumber(ARGV[i + 7]), ARGV[i + 8]
  local answer, mark, replaced = 'ok', '', nil
  if own_seq > 0 and own_seq <= seq then
    answer = 'old'
  elseif (own_seq > 0 and own_seq > seq + 1) or after_seq > seq then
    answer = 'early:' .. digits(seq)
  elseif once ~= '' then
    mark = 'o:' .. once
    if redis.call('HEXISTS', KNOWN, mark) == 1 then
      answer = 'old'
    end
  elseif kind == 's' then
    mark = 's:' .. type .. ':' .. key
    local at, last = string.match(redis.call('HGET', KNOWN, mark) or '', '^(%d+):(%d+)$')
    replaced = at
    if version == '' then
      version = digits(math.max((tonumber(last) or 0) + 1, now))
    elseif last and tonumber(version) <= tonumber(last) then
      answer = 'old'
    end
  end
  if answer == 'ok' then
    local number = ''
    if kind ~= 'e' then
      offset = offset + 1
      number = digits(offset)
    end
    local line = table.concat({number, digits(now), mark, type, actor, key, version, data}, '\t')
    if kind ~= 'e' then
      if replaced then
        forget(replaced)
      end
      keep(line, mark, kind == 's' and number .. ':' .. version or number)
      if own_seq > 0 then
        seq = own_seq
      end
    end
    lines[#lines + 1] = line
  end
  answers[#answers + 1] = answer
end

if #lines > 1 then
  trim()
  save()
  redis.call('PUBLISH', CHANNEL, table.concat(lines, '\n'))
end
answers[2] = digits(offset)
return answers
