// ---- scales: a value for each row of a thread's patch, for each column, or for the whole block ----

// Lanes that hold a value of the same elements are those that FIRST to LAST, doubled each time, lead to.
struct OfRows {
    static constexpr int COUNT = 8, FIRST = 1, LAST = 8;
    float values[COUNT];
    static __device__ __forceinline__ int of(int row, int) { return row; }
};

struct OfColumns {
    static constexpr int COUNT = 8, FIRST = 16, LAST = 16;
    float values[COUNT];
    static __device__ __forceinline__ int of(int, int col) { return col; }
};

struct OfBlock {
    static constexpr int COUNT = 1, FIRST = 1, LAST = 16;
    float values[COUNT];
    static __device__ __forceinline__ int of(int, int) { return 0; }
};

// The largest magnitudes, with those of the patch.
//
// Twice a float's bits, without their sign, are in the order of magnitudes. By 2^24 more, finite ones are at least 2^24;
// infinity is 2^32, so that it and NaN, which do not count, wrap and are less.
template <typename S, typename T>
__device__ __forceinline__ void fold_maxima(S& most, Patch<T>& patch) {
    keep_packed(patch);
    constexpr uint32 one = 1u << 24;
    uint32 folded[S::COUNT];
    #pragma unroll
    for (int i = 0; i < S::COUNT; ++i) folded[i] = 2 * __float_as_uint(most.values[i]) + one;
    #pragma unroll
    for (int i = 0; i < 8; ++i) {
        #pragma unroll
        for (int j = 0; j < 8; ++j) {
            folded[S::of(i, j)] = max(folded[S::of(i, j)], 2 * __float_as_uint(element(patch, i, j)) + one);
        }
    }
    #pragma unroll
    for (int i = 0; i < S::COUNT; ++i) most.values[i] = __uint_as_float((folded[i] - one) / 2);
}

// Among the lanes of a warp.
template <typename S>
__device__ __forceinline__ void reduce_maxima(S& most) {
    #pragma unroll
    for (int distance = S::FIRST; distance <= S::LAST; distance *= 2) {
        #pragma unroll
        for (int i = 0; i < S::COUNT; ++i) {
            most.values[i] = fmaxf(most.values[i], __shfl_xor_sync(ALL_LANES, most.values[i], distance));
        }
    }
}

// A block's largest magnitude over the format's, at least the smallest normal number, so that its inverse is finite; or
// the least power of two that is not below that; 1 for zeros.
template <typename F>
__device__ __forceinline__ float scale_of(float most, bool power_of_two) {
    if (most == 0.0f) return 1.0f;
    const float scale = fmaxf(__fdiv_rn(most, F::LARGEST), __uint_as_float(0x00800000));
    return power_of_two ? __uint_as_float((__float_as_uint(scale) + 0x007fffffu) & 0xff800000u) : scale;
}

template <typename F, typename S>
__device__ __forceinline__ void make_scales(S& scales, bool powers_of_two) {
    #pragma unroll
    for (int i = 0; i < S::COUNT; ++i) scales.values[i] = scale_of<F>(scales.values[i], powers_of_two);
}

template <typename S>
__device__ __forceinline__ void invert_scales(S& scales) {
    #pragma unroll
    for (int i = 0; i < S::COUNT; ++i) scales.values[i] = __fdiv_rn(1.0f, scales.values[i]);
}

// Of 16 lanes that have a patch's rows in common each writes one; `rows` (any value) of them exist.
__device__ __forceinline__ void store_scales(float* to, int64 row_stride, const OfRows& scales, int thread, int rows) {
    #pragma unroll
    for (int i = 0; i < 8; ++i) {
        if (thread % 16 == i && i < rows) to[i * row_stride] = scales.values[i];
    }
}

// The first 16 lanes have all columns; `cols` (any value) of a thread's exist.
__device__ __forceinline__ void store_scales(float* to, const OfColumns& scales, int thread, int cols) {
    #pragma unroll
    for (int i = 0; i < 8; ++i) {
        if (thread < 16 && i < cols) to[i] = scales.values[i];
    }
}

__device__ __forceinline__ void store_scales(float* to, const OfBlock& scales, int thread) {
    if (thread == 0) *to = scales.values[0];
}

