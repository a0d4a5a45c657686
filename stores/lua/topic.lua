-- What every script of a topic begins with. One topic a call:
-- KEYS  1 meta (hash: epoch, run, offset, floor, bytes, seq, turn)  2 log (sorted set: line by offset)  3 known (hash)
-- ARGV  1 lifetime of the keys, ms  2 entries kept  3 age kept, ms  4 bytes kept
-- A line is "offset TAB ms TAB mark TAB type TAB actor TAB key TAB version TAB data"; `mark` is the field of `known`
-- that must be forgotten with it: "s:<type>:<key>" -> "offset:version" of a state, "o:<once>" -> "offset" of a log event.

local META, LOG, KNOWN = KEYS[1], KEYS[2], KEYS[3]
local TTL, ENTRIES_MAX, AGE_MAX, BYTES_MAX = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function digits(number)
  return string.format('%.0f', number)
end

-- An epoch belongs to the server process that numbers it: after a restart the file may have lost its last second,
-- so what another process numbered is not gone on with.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local stored = redis.call('HMGET', META, 'epoch', 'run', 'offset', 'floor', 'bytes', 'seq', 'turn')
local epoch = stored[1]
local offset, floor, bytes, seq = tonumber(stored[3]), tonumber(stored[4]), tonumber(stored[5]), tonumber(stored[6])
if epoch and stored[2] ~= run then
  epoch = false
end
if not epoch then
  redis.call('DEL', META, LOG, KNOWN)
end

-- Whose turn it is to append, "holder:ms left", or '' where it is nobody's.
local function turn()
  local holder, ends = string.match(stored[7] or '', '^(.*):(%d+)$')
  local left = ends and tonumber(ends) - now or 0
  return left > 0 and holder .. ':' .. digits(left) or ''
end

local function begin(token, newest_seq)
  epoch, offset, floor, bytes, seq = token, 0, 0, 0, newest_seq
  redis.call('HSET', META, 'epoch', epoch, 'run', run)
end

-- Drops from the bottom what is too much or too old; the floor is the last offset dropped.
local function trim()
  local count = redis.call('ZCARD', LOG)
  while count > 0 do
    local line = redis.call('ZRANGE', LOG, 0, 0)[1]
    local at, ms, mark = string.match(line, '^(%d+)\t(%d+)\t([^\t]*)\t')
    if count <= ENTRIES_MAX and bytes <= BYTES_MAX and tonumber(ms) >= now - AGE_MAX then
      return
    end
    redis.call('ZREM', LOG, line)
    if mark ~= '' then
      redis.call('HDEL', KNOWN, mark)
    end
    floor, bytes, count = tonumber(at), bytes - #line, count - 1
  end
end

local function save()
  redis.call('HSET', META, 'offset', digits(offset), 'floor', digits(floor), 'bytes', digits(bytes), 'seq', digits(seq))
  redis.call('PEXPIRE', META, TTL)
  redis.call('PEXPIRE', LOG, TTL)
  redis.call('PEXPIRE', KNOWN, TTL)
end
