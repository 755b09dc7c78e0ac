// ---- rows of 64 elements of 2 bytes, written to where they may start anywhere: two elements a lane ----

// Two elements are written together where their address is a multiple of 4: from the first or from the second element on.
// `left` (any value) exist.
template <typename T>
__device__ __forceinline__ void store_row(T* to, uint32 word, int lane, int left) {
    const bool odd = reinterpret_cast<unsigned long long>(to) & 2;
    const uint32 next = __shfl_down_sync(ALL_LANES, word, 1);
    const uint32 pair = odd ? __funnelshift_r(word, next, 16) : word;
    const int first = 2 * lane + odd, end = min_of(left, 64);
    if (first + 1 < end) {
        *reinterpret_cast<uint32*>(to + first) = pair;
    } else if (first < end) {
        to[first].bits = static_cast<uint16>(pair);
    }
    if (odd && lane == 0 && left > 0) to->bits = static_cast<uint16>(word);
}

