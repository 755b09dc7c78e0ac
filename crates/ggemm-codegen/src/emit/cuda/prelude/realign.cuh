// ---- rows that start anywhere, copied to rows that start at multiples of 16 bytes: elements of 2 bytes ----

// The 16 bytes that start so many bytes (below 16) after the first of `low`.
__device__ __forceinline__ uint4 bytes_from(const uint4& low, const uint4& high, uint32 offset) {
    // Six words from the first or the third on; of these, five from the first or the second on.
    const bool third = offset & 8, second = offset & 4;
    const uint32 six[6] = {third ? low.z : low.x,  third ? low.w : low.y,  third ? high.x : low.z,
                           third ? high.y : low.w, third ? high.z : high.x, third ? high.w : high.y};
    uint32 words[4];
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
        const uint32 word = second ? six[i + 1] : six[i], next = second ? six[i + 2] : six[i + 1];
        words[i] = __funnelshift_r(word, next, offset % 4 * 8);
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

// Copies a piece of 8 elements of each of the thread's COUNT rows, which are STEP apart: a multiple of 8, so that all start
// at the same offset from 16 bytes. So many rows and columns (any values) exist from the first on. All are read before any
// is written: many loads are in flight at once.
template <int COUNT, int STEP, typename T>
__device__ __forceinline__ void realign(T* to, int64 to_stride, const T* from, int64 from_stride, int rows, int cols) {
    const uint32 offset = reinterpret_cast<unsigned long long>(from) % 16;
    const char* aligned = reinterpret_cast<const char*>(from) - offset;
    uint4 low[COUNT], high[COUNT];
    #pragma unroll
    for (int i = 0; i < COUNT; ++i) {
        const int left = i * STEP < rows ? min_of(cols, 8) : 0;
        load_aligned(low[i], aligned, left > 0);
        load_aligned(high[i], aligned + 16, left > 0 && int(offset) + 2 * left > 16);
        aligned += STEP * 2 * from_stride;
    }
    #pragma unroll
    for (int i = 0; i < COUNT; ++i) {
        if (i * STEP < rows && cols > 0) *reinterpret_cast<uint4*>(to) = bytes_from(low[i], high[i], offset);
        to += STEP * to_stride;
    }
}

