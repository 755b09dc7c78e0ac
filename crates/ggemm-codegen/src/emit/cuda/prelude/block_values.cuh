// ---- scales: a value for each row of a thread's patch, for each column, or for the whole block ----

// `values` are the largest magnitudes of a thread's patch, until they are reduced: then the lanes that share them have
// dealt them out, and each has the largest so far of its part in `own`, and makes scales of those. No scale is made twice,
// or takes registers before it is used. LANES of a warp lie along the columns, and the others along the rows.
template <int LANES>
struct OfRows {
    static constexpr int COUNT = 8, OWN = 1;
    float values[COUNT], own[OWN];
    static __device__ __forceinline__ int of(int row, int) { return row; }
};

template <int LANES>
struct OfColumns {
    static constexpr int COUNT = 8, OWN = LANES / 4;
    float values[COUNT], own[OWN];
    static __device__ __forceinline__ int of(int, int col) { return col; }
};

struct OfBlock {
    static constexpr int COUNT = 1, OWN = 1;
    float values[COUNT], own[OWN];
    static __device__ __forceinline__ int of(int, int) { return 0; }
};

// The magnitudes of two elements, with one more in their bits: infinities become NaN, which a maximum leaves out, and the
// largest finite ones what infinities were. NaN stays NaN, or becomes a zero with a sign: less than any.
constexpr uint32 ONE_MORE = 0x00010001u;
__device__ __forceinline__ uint32 magnitudes_and_one(uint32 pair) { return (pair & 0x7fff7fffu) + ONE_MORE; }

// Folds the magnitudes of 16-bit elements into a patch's values, two at a time. Which words share a value, and whether both
// of a word's elements do, differs.
template <int LANES, typename T>
__device__ __forceinline__ void fold_pairs(OfRows<LANES>& most, const Patch<T>& patch) {
    #pragma unroll
    for (int i = 0; i < 8; ++i) {
        uint32 folded = ONE_MORE;
        #pragma unroll
        for (int word = 0; word < 4; ++word) {
            folded = larger_pair(static_cast<T*>(nullptr), folded, magnitudes_and_one(patch.words[i][word]));
        }
        folded -= ONE_MORE;
        most.values[i] = fmaxf(most.values[i], fmaxf(unpack<T>(folded, 0), unpack<T>(folded, 1)));
    }
}

template <int LANES, typename T>
__device__ __forceinline__ void fold_pairs(OfColumns<LANES>& most, const Patch<T>& patch) {
    #pragma unroll
    for (int word = 0; word < 4; ++word) {
        uint32 folded = ONE_MORE;
        #pragma unroll
        for (int i = 0; i < 8; ++i) {
            folded = larger_pair(static_cast<T*>(nullptr), folded, magnitudes_and_one(patch.words[i][word]));
        }
        folded -= ONE_MORE;
        #pragma unroll
        for (int j = 0; j < 2; ++j) {
            most.values[2 * word + j] = fmaxf(most.values[2 * word + j], unpack<T>(folded, j));
        }
    }
}

template <typename T>
__device__ __forceinline__ void fold_pairs(OfBlock& most, const Patch<T>& patch) {
    uint32 folded = ONE_MORE;
    #pragma unroll
    for (int i = 0; i < 8; ++i) {
        #pragma unroll
        for (int word = 0; word < 4; ++word) {
            folded = larger_pair(static_cast<T*>(nullptr), folded, magnitudes_and_one(patch.words[i][word]));
        }
    }
    folded -= ONE_MORE;
    most.values[0] = fmaxf(most.values[0], fmaxf(unpack<T>(folded, 0), unpack<T>(folded, 1)));
}

// Takes the patch into the largest magnitudes.
template <typename S, typename T>
__device__ __forceinline__ void fold_maxima(S& most, Patch<T>& patch) {
    keep_packed(patch);
    fold_pairs(most, patch);
}

// Twice a float's bits, which leaves out the sign, are in the order of magnitudes. With 2^24 added, finite ones are at least
// 2^24; infinity would be 2^32, so that it and NaN, which do not count, wrap and are less.
template <typename S>
__device__ __forceinline__ void fold_maxima(S& most, Patch<f32>& patch) {
    constexpr uint32 one = 1u << 24;
    uint32 folded[S::COUNT];
    #pragma unroll
    for (int i = 0; i < S::COUNT; ++i) folded[i] = 2 * __float_as_uint(most.values[i]) + one;
    #pragma unroll
    for (int i = 0; i < 8; ++i) {
        #pragma unroll
        for (int j = 0; j < 8; ++j) folded[S::of(i, j)] = max(folded[S::of(i, j)], 2 * patch.words[i][j] + one);
    }
    #pragma unroll
    for (int i = 0; i < S::COUNT; ++i) most.values[i] = __uint_as_float((folded[i] - one) / 2);
}

// Lanes that are DISTANCE apart share N values; each keeps the larger ones of its half of them, the first lanes the first.
template <int N, int DISTANCE>
__device__ __forceinline__ void share_out(float (&values)[8], int thread) {
    const bool is_second = thread & DISTANCE;
    #pragma unroll
    for (int i = 0; i < N / 2; ++i) {
        const float first = values[i], second = values[i + N / 2];
        const float theirs = __shfl_xor_sync(ALL_LANES, is_second ? first : second, DISTANCE);
        values[i] = fmaxf(is_second ? second : first, theirs);
    }
}

// Among the lanes of a warp: those that have eight rows in common deal them out, a row to each two or four neighbours.
template <int LANES>
__device__ __forceinline__ void reduce_maxima(OfRows<LANES>& most, int thread) {
    share_out<8, LANES / 2>(most.values, thread);
    share_out<4, LANES / 4>(most.values, thread);
    share_out<2, LANES / 8>(most.values, thread);
    float largest = most.values[0];
    #pragma unroll
    for (int distance = LANES / 16; distance > 0; distance /= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, distance));
    }
    most.own[0] = fmaxf(most.own[0], largest);
    #pragma unroll
    for (int i = 0; i < 8; ++i) most.values[i] = 0.0f;
}

// Lanes that have eight columns in common deal them out: four each, or two.
template <int LANES>
__device__ __forceinline__ void reduce_maxima(OfColumns<LANES>& most, int thread) {
    share_out<8, 16>(most.values, thread);
    if constexpr (LANES == 8) share_out<4, 8>(most.values, thread);
    #pragma unroll
    for (int i = 0; i < LANES / 4; ++i) most.own[i] = fmaxf(most.own[i], most.values[i]);
    #pragma unroll
    for (int i = 0; i < 8; ++i) most.values[i] = 0.0f;
}

// Magnitudes are in the order of their bits.
__device__ __forceinline__ void reduce_maxima(OfBlock& most, int) {
    most.own[0] = fmaxf(most.own[0], __uint_as_float(__reduce_max_sync(ALL_LANES, __float_as_uint(most.values[0]))));
    most.values[0] = 0.0f;
}

// A block's largest magnitude over the format's, at least the smallest normal number, so that its inverse is finite; or
// the least power of two that is not below that; 1 for zeros. The quotient is rounded right: what a first one leaves over
// is known exactly, and its share is added.
template <typename F>
__device__ __forceinline__ float scale_of(float most, bool power_of_two) {
    constexpr float inverse = 1.0f / F::LARGEST;
    const float about = __fmul_rn(most, inverse);
    const float quotient = __fmaf_rn(__fmaf_rn(-about, F::LARGEST, most), inverse, about);
    const float scale = fmaxf(quotient, __uint_as_float(0x00800000));
    const float rounded = __uint_as_float((__float_as_uint(scale) + 0x007fffffu) & 0xff800000u);
    return most == 0.0f ? 1.0f : power_of_two ? rounded : scale;
}

template <typename F, typename S>
__device__ __forceinline__ void make_scales(S& scales, bool powers_of_two) {
    #pragma unroll
    for (int i = 0; i < S::OWN; ++i) scales.own[i] = scale_of<F>(scales.own[i], powers_of_two);
}

template <typename S>
__device__ __forceinline__ void invert_scales(S& scales) {
    #pragma unroll
    for (int i = 0; i < S::OWN; ++i) scales.own[i] = __frcp_rn(scales.own[i]);
}

// The values of a thread's patch, from the lanes that have them.
template <int LANES>
__device__ __forceinline__ OfRows<LANES> gather(const OfRows<LANES>& scales, int) {
    OfRows<LANES> gathered;
    #pragma unroll
    for (int i = 0; i < 8; ++i) gathered.values[i] = __shfl_sync(ALL_LANES, scales.own[0], i * (LANES / 8), LANES);
    return gathered;
}

template <int LANES>
__device__ __forceinline__ OfColumns<LANES> gather(const OfColumns<LANES>& scales, int thread) {
    constexpr int own = LANES / 4;
    OfColumns<LANES> gathered;
    #pragma unroll
    for (int i = 0; i < 8; ++i) {
        gathered.values[i] = __shfl_sync(ALL_LANES, scales.own[i % own], thread % LANES * (8 / own) + i / own);
    }
    return gathered;
}

__device__ __forceinline__ OfBlock gather(const OfBlock& scales, int) {
    OfBlock gathered;
    gathered.values[0] = scales.own[0];
    return gathered;
}

// Of the lanes that have a row's scale the first writes it; of warps that lie side by side, which all have it, the first.
// `rows` (any value) of a thread's patch exist.
template <int LANES>
__device__ __forceinline__ void store_scales(float* to, int64 row_stride, const OfRows<LANES>& scales, int thread, int rows) {
    if (LANES == 32 && thread >= 32) return;
    const int row = thread % LANES / (LANES / 8);
    if (thread % (LANES / 8) == 0 && row < rows) to[row * row_stride] = scales.own[0];
}

// The first warp has all columns, each lane some; `cols` (any value) of its own exist.
template <int LANES>
__device__ __forceinline__ void store_scales(float* to, const OfColumns<LANES>& scales, int thread, int cols) {
    #pragma unroll
    for (int i = 0; i < LANES / 4; ++i) {
        if (thread < 32 && i < cols) to[i] = scales.own[i];
    }
}

__device__ __forceinline__ void store_scales(float* to, const OfBlock& scales, int thread) {
    if (thread == 0) *to = scales.own[0];
}

