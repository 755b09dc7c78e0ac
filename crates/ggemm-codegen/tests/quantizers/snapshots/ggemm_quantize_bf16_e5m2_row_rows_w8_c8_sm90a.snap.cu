// ggemm_quantize_bf16_e5m2_row_rows_w8_c8_sm90a
//
// bf16 to e5m2, as they lie, a scale for each row, which 8 CTAs divide
// 256 threads a CTA, 33280 bytes of shared memory, rows aligned to 4 bytes.
// Written by ggemm 0.1.0. Needs no header; compile with nvcc or NVRTC, C++17.

// ---- types: 16-bit floats are kept as bits, so that no header is needed ----
using uint16 = unsigned short;
using uint32 = unsigned int;
using int64 = long long;
struct bf16 { uint16 bits; };
struct f16 { uint16 bits; };
using f32 = float;

__device__ __forceinline__ int min_of(int a, int b) { return a < b ? a : b; }
__device__ __forceinline__ int64 min_of(int64 a, int64 b) { return a < b ? a : b; }
__device__ __forceinline__ int max_of(int a, int b) { return a > b ? a : b; }
__device__ __forceinline__ int64 max_of(int64 a, int64 b) { return a > b ? a : b; }

// Quotient of non-negative integers, rounded up, without overflow.
__device__ __forceinline__ int ceil_div(int a, int b) { return a / b + (a % b != 0); }

// ---- the warp: group sizes and lane exchange ----
constexpr uint32 ALL_LANES = 0xffffffffu;

// Entry `index` of an array of int (or of int64), read through the read-only path.
__device__ __forceinline__ int64 load_index(const void* array, int index, bool wide) {
    return wide ? __ldg(static_cast<const int64*>(array) + index)
                : static_cast<int64>(__ldg(static_cast<const int*>(array) + index));
}

// The lowest lane in a mask that is not empty.
__device__ __forceinline__ int first_lane(uint32 mask) { return __ffs(mask) - 1; }

// ---- shared memory by its 32-bit address ----
__device__ __forceinline__ uint32 shared_address(const void* p) {
    return static_cast<uint32>(__cvta_generic_to_shared(p));
}

// ---- clusters of CTAs ----
__device__ __forceinline__ int cluster_rank() {
    int rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

__device__ __forceinline__ int cluster_index() {
    int index;
    asm("mov.u32 %0, %%clusterid.x;" : "=r"(index));
    return index;
}

__device__ __forceinline__ int cluster_count() {
    int count;
    asm("mov.u32 %0, %%nclusterid.x;" : "=r"(count));
    return count;
}

// All threads of the cluster meet: what each did before its arrival is visible after the others' wait.
__device__ __forceinline__ void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }

__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

// ---- programmatic dependent launch, which came with sm_90 ----

// Waits until the grids that this one depends on have ended and what they wrote is visible.
__device__ __forceinline__ void await_grid() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the grids that depend on this one start.
__device__ __forceinline__ void launch_dependents() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// ---- patches: of a block each thread has 8 x 8 elements, as they lie in memory ----
template <typename T>
struct Patch {
    uint32 words[8][2 * sizeof(T)];
};

// The first or the second of the two 16-bit elements of a word.
template <typename T>
__device__ __forceinline__ float unpack(uint32 word, int number);

template <>
__device__ __forceinline__ float unpack<bf16>(uint32 word, int number) {
    return __uint_as_float(number ? word & 0xffff0000u : word << 16);
}

template <>
__device__ __forceinline__ float unpack<f16>(uint32 word, int number) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(uint16(word >> number * 16)));
    return x;
}

// The larger of the first two and the larger of the second two elements, which have no signs; NaN is less than any.
__device__ __forceinline__ uint32 larger_pair(bf16*, uint32 a, uint32 b) {
    asm("max.bf16x2 %0, %0, %1;" : "+r"(a) : "r"(b));
    return a;
}

__device__ __forceinline__ uint32 larger_pair(f16*, uint32 a, uint32 b) {
    asm("max.f16x2 %0, %0, %1;" : "+r"(a) : "r"(b));
    return a;
}

template <typename T>
__device__ __forceinline__ float element(const Patch<T>& patch, int row, int col) {
    return unpack<T>(patch.words[row][col / 2], col % 2);
}

__device__ __forceinline__ float element(const Patch<f32>& patch, int row, int col) {
    return __uint_as_float(patch.words[row][col]);
}

// The high bytes of four elements of a row, with their signs.
template <typename T>
__device__ __forceinline__ uint32 high_bytes_of_row(const Patch<T>& patch, int row, int col) {
    const uint32* const words = &patch.words[row][col / 2];
    return __byte_perm(words[0], words[1], 0x7531);
}

__device__ __forceinline__ uint32 high_bytes_of_row(const Patch<f32>& patch, int row, int col) {
    const uint32* const words = &patch.words[row][col];
    return __byte_perm(__byte_perm(words[0], words[1], 0x0073), __byte_perm(words[2], words[3], 0x0073), 0x5410);
}

// Those of four elements of a column. A pair of 16-bit columns has the inner two steps in common.
template <typename T>
__device__ __forceinline__ uint32 high_bytes_of_column(const Patch<T>& patch, int row, int col) {
    const int word = col / 2;
    const uint32 first = __byte_perm(patch.words[row][word], patch.words[row + 1][word], 0x7351);
    const uint32 second = __byte_perm(patch.words[row + 2][word], patch.words[row + 3][word], 0x7351);
    return __byte_perm(first, second, col % 2 ? 0x7632 : 0x5410);
}

__device__ __forceinline__ uint32 high_bytes_of_column(const Patch<f32>& patch, int row, int col) {
    const uint32 first = __byte_perm(patch.words[row][col], patch.words[row + 1][col], 0x0073);
    const uint32 second = __byte_perm(patch.words[row + 2][col], patch.words[row + 3][col], 0x0073);
    return __byte_perm(first, second, 0x5410);
}

// Elements are unpacked anew for each use from here on. Left alone, compilers keep all 64, unpacked, from one use to the
// next: twice the registers.
template <typename T>
__device__ __forceinline__ void keep_packed(Patch<T>& patch) {
    #pragma unroll
    for (int i = 0; i < 8; ++i) {
        #pragma unroll
        for (int word = 0; word < 2 * sizeof(T); ++word) asm volatile("" : "+r"(patch.words[i][word]));
    }
}

// 16 bytes that are read once, or zeros, without a branch.
__device__ __forceinline__ void load_16_bytes(uint32* to, const void* from, bool reads) {
    asm volatile("{\n"
                 ".reg .pred reads;\n"
                 "setp.ne.b32 reads, %5, 0;\n"
                 "mov.b32 %0, 0;\n"
                 "mov.b32 %1, 0;\n"
                 "mov.b32 %2, 0;\n"
                 "mov.b32 %3, 0;\n"
                 "@reads ld.global.nc.L1::no_allocate.v4.b32 {%0, %1, %2, %3}, [%4];\n"
                 "}"
                 : "=&r"(to[0]), "=&r"(to[1]), "=&r"(to[2]), "=&r"(to[3])
                 : "l"(from), "r"(int(reads)));
}

__device__ __forceinline__ uint32 bits_of(bf16 x) { return x.bits; }
__device__ __forceinline__ uint32 bits_of(f16 x) { return x.bits; }
__device__ __forceinline__ uint32 bits_of(f32 x) { return __float_as_uint(x); }

// Reads the patch that begins at `from`, of which so many rows and columns (any values) exist; the rest is zero. All loads
// are on their way together. Aligned, rows start at multiples of 16 bytes and columns exist 8 at a time.
template <typename T>
__device__ __forceinline__ void load_patch(Patch<T>& patch, const T* from, int64 row_stride, int rows, int cols,
                                           bool aligned) {
    if (aligned) {
        #pragma unroll
        for (int i = 0; i < 8; ++i) {
            #pragma unroll
            for (int j = 0; j < 8; j += 16 / sizeof(T)) {
                load_16_bytes(&patch.words[i][j * sizeof(T) / 4], from + j, i < rows && cols > 0);
            }
            from += row_stride;
        }
    } else {
        // Each row is read into the last place, and moves up by one with each that follows: a loop that is not unrolled
        // leaves registers to what is aligned.
        constexpr int in_word = 4 / sizeof(T), words = 8 / in_word;
        #pragma unroll 1
        for (int i = 0; i < 8; ++i) {
            #pragma unroll
            for (int place = 0; place < 7; ++place) {
                #pragma unroll
                for (int word = 0; word < words; ++word) patch.words[place][word] = patch.words[place + 1][word];
            }
            #pragma unroll
            for (int word = 0; word < words; ++word) {
                uint32 bits = 0;
                #pragma unroll
                for (int j = 0; j < in_word; ++j) {
                    const int col = word * in_word + j;
                    if (i < rows && col < cols) bits |= bits_of(from[col]) << j * 16;
                }
                patch.words[7][word] = bits;
            }
            from += row_stride;
        }
    }
}

// ---- e5m2, at most 57344 ----
struct e5m2 {
    unsigned char bits;
    static constexpr float LARGEST = 57344.0f;
};

// Four values in a word, the first in its low byte: to the nearest (ties to even); what is too large, infinities
// included, to the largest. NaN becomes 0x7f.
__device__ __forceinline__ uint32 round_four(e5m2*, const float (&x)[4]) {
    uint32 word;
    asm("{\n"
        ".reg .b16 low, high;\n"
        "cvt.rn.satfinite.e5m2x2.f32 low, %2, %1;\n"
        "cvt.rn.satfinite.e5m2x2.f32 high, %4, %3;\n"
        "mov.b32 %0, {low, high};\n"
        "}"
        : "=r"(word)
        : "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]));
    return word;
}

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

// ---- patches kept in shared memory: each thread finds its own again ----

// Pieces of 16 bytes that threads write together lie side by side.
template <int THREADS, typename T>
__device__ __forceinline__ void keep_patch(uint32 to, const Patch<T>& patch, int thread) {
    constexpr int pieces = sizeof(T) / 2;
    #pragma unroll
    for (int i = 0; i < 8 * pieces; ++i) {
        const uint32* const words = &patch.words[i / pieces][i % pieces * 4];
        asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to + (i * THREADS + thread) * 16), "r"(words[0]),
                     "r"(words[1]), "r"(words[2]), "r"(words[3])
                     : "memory");
    }
}

template <int THREADS, typename T>
__device__ __forceinline__ void restore_patch(Patch<T>& patch, uint32 from, int thread) {
    constexpr int pieces = sizeof(T) / 2;
    #pragma unroll
    for (int i = 0; i < 8 * pieces; ++i) {
        uint32* const words = &patch.words[i / pieces][i % pieces * 4];
        asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                     : "r"(from + (i * THREADS + thread) * 16)
                     : "memory");
    }
}

// ---- largest magnitudes of all warps, through a tile of shared memory with a row for each ----
__device__ __forceinline__ void store_maximum(uint32 to, float x) {
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(to), "f"(x) : "memory");
}

__device__ __forceinline__ float load_maximum(uint32 from) {
    float x;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(x) : "r"(from) : "memory");
    return x;
}

// Warps that lie side by side have eight rows in common, of which each lane has one.
__device__ __forceinline__ void store_maxima(uint32 to, const OfRows<32>& most, int thread) {
    if (thread % 4 == 0) store_maximum(to + thread / 32 * 32 + thread % 32, most.own[0]);
}

template <int LANES>
__device__ __forceinline__ void store_maxima(uint32 to, const OfColumns<LANES>& most, int thread) {
    constexpr int own = LANES / 4;
    const uint32 first = to + thread / 32 * (LANES * 32) + (thread % LANES * 8 + thread % 32 / LANES * own) * 4;
    if constexpr (own == 4) {
        asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(first), "f"(most.own[0]), "f"(most.own[1]),
                     "f"(most.own[2]), "f"(most.own[3])
                     : "memory");
    } else {
        asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(first), "f"(most.own[0]), "f"(most.own[1]) : "memory");
    }
}

__device__ __forceinline__ void store_maxima(uint32 to, const OfBlock& most, int thread) {
    if (thread % 32 == 0) store_maximum(to + thread / 32 * 16, most.own[0]);
}

// The four lanes that have a row read a fourth of the warps' each.
template <int WARPS>
__device__ __forceinline__ void load_maxima(OfRows<32>& most, uint32 from, int thread) {
    #pragma unroll
    for (int warp = 0; warp < WARPS; warp += 4) {
        most.own[0] = fmaxf(most.own[0], load_maximum(from + (warp + thread % 4) * 32 + thread % 32 / 4 * 4));
    }
    #pragma unroll
    for (int distance = 2; distance > 0; distance /= 2) {
        most.own[0] = fmaxf(most.own[0], __shfl_xor_sync(ALL_LANES, most.own[0], distance));
    }
}

// From here on a lane has the columns next to those of the lane before it, whatever the warp: all have all of them.
template <int WARPS, int LANES>
__device__ __forceinline__ void load_maxima(OfColumns<LANES>& most, uint32 from, int thread) {
    constexpr int own = LANES / 4;
    #pragma unroll
    for (int i = 0; i < own; ++i) most.own[i] = 0.0f;
    #pragma unroll
    for (int warp = 0; warp < WARPS; ++warp) {
        const uint32 first = from + warp * (LANES * 32) + thread % 32 * (own * 4);
        float x[own];
        if constexpr (own == 4) {
            asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                         : "=f"(x[0]), "=f"(x[1]), "=f"(x[2]), "=f"(x[3])
                         : "r"(first)
                         : "memory");
        } else {
            asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(x[0]), "=f"(x[1]) : "r"(first) : "memory");
        }
        #pragma unroll
        for (int i = 0; i < own; ++i) most.own[i] = fmaxf(most.own[i], x[i]);
    }
}

// Each lane reads a warp's, and all lanes tell each other.
template <int WARPS>
__device__ __forceinline__ void load_maxima(OfBlock& most, uint32 from, int thread) {
    const float x = load_maximum(from + thread % WARPS * 16);
    most.own[0] = __uint_as_float(__reduce_max_sync(ALL_LANES, __float_as_uint(x)));
}

// ---- largest magnitudes of all CTAs of a cluster, through a tile in each with a row for each ----

// The same place in the shared memory of the CTA with this rank.
__device__ __forceinline__ uint32 address_in_cluster(uint32 address, int rank) {
    uint32 remote;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
    return remote;
}

__device__ __forceinline__ void store_in_cluster(uint32 to, float x) {
    asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(to), "f"(x) : "memory");
}

// All warps have the same values: each tells them to other CTAs.
template <int CTAS, int WARPS>
__device__ __forceinline__ void tell_maxima(uint32 to, const OfRows<32>& most, int thread) {
    const uint32 own = to + cluster_rank() * 32 + thread % 32;
    #pragma unroll
    for (int i = 0; i < CTAS; i += WARPS) {
        const int rank = i + thread / 32;
        if (rank < CTAS && thread % 4 == 0) store_in_cluster(address_in_cluster(own, rank), most.own[0]);
    }
}

// A lane has the columns next to those of the lane before it.
template <int CTAS, int WARPS, int LANES>
__device__ __forceinline__ void tell_maxima(uint32 to, const OfColumns<LANES>& most, int thread) {
    constexpr int own = LANES / 4;
    const uint32 first = to + cluster_rank() * (LANES * 32) + thread % 32 * (own * 4);
    #pragma unroll
    for (int i = 0; i < CTAS; i += WARPS) {
        const int rank = i + thread / 32;
        if (rank < CTAS) {
            const uint32 remote = address_in_cluster(first, rank);
            #pragma unroll
            for (int j = 0; j < own; ++j) store_in_cluster(remote + j * 4, most.own[j]);
        }
    }
}
// ---- rounding a patch: its elements times the inverses of their scales ----

// Four elements of a row, or of a column, in a word. Signs are the source's, which a product and a conversion keep of all
// but NaN.
template <typename F, bool OF_COLUMN, typename T, typename S>
__device__ __forceinline__ uint32 quantize_four(const Patch<T>& patch, const S& inverses, int row, int col) {
    float scaled[4];
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int r = row + (OF_COLUMN ? i : 0), c = col + (OF_COLUMN ? 0 : i);
        scaled[i] = element(patch, r, c) * inverses.values[S::of(r, c)];
    }
    const uint32 rounded = round_four(static_cast<F*>(nullptr), scaled);
    const uint32 high = OF_COLUMN ? high_bytes_of_column(patch, row, col) : high_bytes_of_row(patch, row, col);
    return rounded | (high & 0x80808080u);
}

template <typename F, typename T, typename S>
__device__ __forceinline__ uint2 quantize_row(const Patch<T>& patch, const S& inverses, int row) {
    return make_uint2(quantize_four<F, false>(patch, inverses, row, 0), quantize_four<F, false>(patch, inverses, row, 4));
}

// Writes the rounded patch to `to`, of which so many rows and columns (any values) exist. Aligned, rows start at multiples
// of 16 bytes and columns exist 8 at a time. What is stored is the first to leave L2: scales, of which a CTA writes 4 bytes
// of a sector, are to stay until others have written the rest of it.
template <typename F, typename T, typename S>
__device__ __forceinline__ void store_patch(F* to, int64 row_stride, Patch<T>& patch, const S& scales, int thread,
                                            int rows, int cols, bool aligned) {
    keep_packed(patch);
    const S inverses = gather(scales, thread);
    // With one scale for all, a transposed copy has the same words: made all at once, they serve for both.
    constexpr bool at_once = S::COUNT == 1;
    uint2 words[8];
    if (at_once || !aligned) {
        #pragma unroll
        for (int i = 0; i < 8; ++i) words[i] = quantize_row<F>(patch, inverses, i);
    }
    if (aligned) {
        #pragma unroll
        for (int i = 0; i < 8; ++i) {
            if (!at_once) words[i] = quantize_row<F>(patch, inverses, i);
            if (i < rows && cols > 0) __stcs(reinterpret_cast<uint2*>(to), words[i]);
            to += row_stride;
        }
    } else {
        // As they were read: the row in the first place is written, and the others move up.
        #pragma unroll 1
        for (int i = 0; i < 8; ++i) {
            #pragma unroll
            for (int j = 0; j < 8; ++j) {
                const uint32 word = j < 4 ? words[0].x : words[0].y;
                if (i < rows && j < cols) to[j].bits = static_cast<unsigned char>(word >> j % 4 * 8);
            }
            #pragma unroll
            for (int place = 0; place < 7; ++place) words[place] = words[place + 1];
            to += row_stride;
        }
    }
}

extern "C" __global__ void __cluster_dims__(8, 1, 1) __launch_bounds__(256, 3)
ggemm_quantize_bf16_e5m2_row_rows_w8_c8_sm90a(
    const bf16* __restrict__ source,
    const int matrices,
    const int rows,
    const int cols,
    const bool powers_of_two,
    const bool aligned,
    e5m2* __restrict__ copy,
    const int64 row_stride,
    const int64 group_stride,
    f32* __restrict__ scales,
    const int64 scale_group_stride,
    const int64 scale_row_stride)
{
    const int thread = threadIdx.x;
    __builtin_assume(0 <= thread && thread < 256);

    extern __shared__ __align__(1024) unsigned char shared_memory[];
    const uint32 kept = shared_address(shared_memory);  // 1 x 32768 bytes
    const uint32 maxima = shared_address(shared_memory) + 32768;  // 1 x 256 bytes
    const uint32 told = shared_address(shared_memory) + 33024;  // 1 x 256 bytes

    Patch<bf16> patch;
    OfRows<32> scales_of_patch;

    // What is above may overlap the end of the grid before this one, and the next grid's beginning this one's end.
    await_grid();
    launch_dependents();
    const int rank = cluster_rank();
    const int col_tiles = 1;
    const int blocks_of_each = ceil_div(rows, 8) * col_tiles;
    int block = cluster_index();
    while (true) {
        if (block >= matrices * blocks_of_each) break;
        const int matrix = block / blocks_of_each;
        const int block_of_matrix = block - matrix * blocks_of_each;
        const int first_row = block_of_matrix / col_tiles * 8;
        const int blocks = ceil_div(cols, 2048);
        const int own_blocks = (blocks + 7 - rank) / 8;
        // All CTAs of the cluster run, and have read what they were told before.
        cluster_arrive();
        scales_of_patch = {};
        #pragma unroll 1
        for (int block_read = 0; block_read < own_blocks; ++block_read) {
            const int block_at_hand = own_blocks - 1 - block_read;
            const int col_of_block = (block_at_hand * 8 + rank) * 2048;
            {
                const int row = thread / 256 * 8, col = thread % 256 * 8;
                const bf16* const from = source + ((int64(matrix) * int64(rows) + int64(first_row)) * int64(cols) + int64(col_of_block))
                    + (row * int64(cols) + col);
                load_patch(patch, from, int64(cols), rows - first_row - row, cols - col_of_block - col, aligned);
            }
            fold_maxima(scales_of_patch, patch);
            // One value a lane takes fewer registers through the loop than one for each row or column.
            reduce_maxima(scales_of_patch, thread);
            if (block_at_hand == 1) {
                keep_patch<256>(kept, patch, thread);
            }
        }
        store_maxima(maxima, scales_of_patch, thread);
        __syncthreads();
        load_maxima<8>(scales_of_patch, maxima, thread);
        cluster_wait();
        tell_maxima<8, 8>(told, scales_of_patch, thread);
        cluster_arrive();
        cluster_wait();
        load_maxima<8>(scales_of_patch, told, thread);
        make_scales<e5m2>(scales_of_patch, powers_of_two);
        if (rank == 0) {
            {
                const int row = thread / 256 * 8;
                f32* const to = scales + (int64(matrix) * scale_group_stride + int64(first_row) * scale_row_stride)
                    + (row * scale_row_stride);
                store_scales(to, scale_row_stride, scales_of_patch, thread, rows - first_row - row);
            }
        }
        invert_scales(scales_of_patch);
        #pragma unroll 1
        for (int block_rounded = 0; block_rounded < own_blocks; ++block_rounded) {
            const int col_of_block = (block_rounded * 8 + rank) * 2048;
            // The first block was read last, and still is in registers; the second was kept.
            if (block_rounded < 2) {
                if (block_rounded == 1) {
                    restore_patch<256>(patch, kept, thread);
                }
            } else {
                {
                    const int row = thread / 256 * 8, col = thread % 256 * 8;
                    const bf16* const from = source + ((int64(matrix) * int64(rows) + int64(first_row)) * int64(cols) + int64(col_of_block))
                        + (row * int64(cols) + col);
                    load_patch(patch, from, int64(cols), rows - first_row - row, cols - col_of_block - col, aligned);
                }
            }
            {
                const int row = thread / 256 * 8, col = thread % 256 * 8;
                e5m2* const to = copy + (int64(matrix) * group_stride + int64(first_row) * row_stride + int64(col_of_block))
                    + (row * row_stride + col);
                store_patch(to, row_stride, patch, scales_of_patch, thread, rows - first_row - row, cols - col_of_block - col, aligned);
            }
        }
        block = block + cluster_count();
    }
}
