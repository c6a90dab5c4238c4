//! What Redis does for the cache in one step each.

/// `KEYS`: of tokens. `ARGV`: for how many milliseconds at least, then a token for each that has none. Answers their
/// tokens.
pub(super) const TOKENS: &str = "
    local tokens = redis.call('MGET', unpack(KEYS))
    for at, key in ipairs(KEYS) do
        if not tokens[at] or #tokens[at] ~= 8 then
            tokens[at] = ARGV[at + 1]
            redis.call('SET', key, tokens[at], 'PX', 2 * ARGV[1])
        elseif redis.call('PTTL', key) < tonumber(ARGV[1]) then
            redis.call('PEXPIRE', key, 2 * ARGV[1])
        end
    end
    return tokens
";
/// `KEYS`: lock. `ARGV`: owner.
pub(super) const UNLOCK: &str = "
    if redis.call('GET', KEYS[1]) == ARGV[1] then
        redis.call('UNLINK', KEYS[1])
    end
    return 1
";
/// `KEYS`: cursor. `ARGV`: the new one, which begins with its place in 39 digits; milliseconds. Answers what it was.
pub(super) const ADVANCE: &str = "
    local stood = redis.call('GET', KEYS[1])
    if stood and string.sub(stood, 1, 39) >= string.sub(ARGV[1], 1, 39) then
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
    else
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    end
    return stood
";
/// `ARGV`: what keys of entries begin with. Looks at some hundred keys, which are as good as drawn by lot: Redis keeps
/// them by their hashes. Answers how many keys there are, how many of them it saw, how many of those are entries, and
/// what these take.
pub(super) const SIZE: &str = "
    local entries, bytes = 0, 0
    local keys = redis.call('SCAN', '0', 'COUNT', 300)[2]
    for _, key in ipairs(keys) do
        if string.sub(key, 1, #ARGV[1]) == ARGV[1] then
            entries = entries + 1
            bytes = bytes + #key + redis.call('STRLEN', key)
        end
    end
    return {redis.call('DBSIZE'), #keys, entries, bytes}
";
