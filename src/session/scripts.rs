//! What Redis does with claims, in one step each. All claims of an upload are one hash, so that they are counted in one
//! step too: chunk -> token and the time, by Redis' clock, when it lapses. A token is 24 bytes: its node, and a number
//! that is never used again. A node sorts out its own writers by itself: what it holds already, or has not given back
//! yet, it may take again.

/// `KEYS`: claims, copy. `ARGV`: chunk, token, milliseconds. Answers 1 and the copy, or 0 if another node has it.
pub(super) const CLAIM: &str = "
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local held = redis.call('HGET', KEYS[1], ARGV[1])
    if held and string.sub(held, 1, 16) ~= string.sub(ARGV[2], 1, 16) and tonumber(string.sub(held, 25)) > now then
        return {0, false}
    end
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. string.format('%d', now + ARGV[3]))
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
    return {1, redis.call('GET', KEYS[2])}
";
/// `KEYS`: claims. `ARGV`: chunk, token.
pub(super) const RELEASE: &str = "
    local held = redis.call('HGET', KEYS[1], ARGV[1])
    if held and string.sub(held, 1, 24) == ARGV[2] then
        redis.call('HDEL', KEYS[1], ARGV[1])
    end
    return 1
";
/// `KEYS`: claims. `ARGV`: node. Answers how many claims of other nodes stand.
pub(super) const OTHERS: &str = "
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local count = 0
    for _, held in ipairs(redis.call('HVALS', KEYS[1])) do
        if string.sub(held, 1, 16) ~= ARGV[1] and tonumber(string.sub(held, 25)) > now then
            count = count + 1
        end
    end
    return count
";
