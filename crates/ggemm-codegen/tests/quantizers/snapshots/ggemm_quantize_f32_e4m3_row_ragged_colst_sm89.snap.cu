// ggemm_quantize_f32_e4m3_row_ragged_colst_sm89
//
// f32 to e4m3, transposed, a scale for each column of a group's rows
// 256 threads a CTA, 20480 bytes of shared memory, rows aligned to 4 bytes.
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

// ---- patches: of a block of 128 columns each thread has 8 x 8 elements, as they lie in memory ----
template <typename T>
struct Patch {
    uint32 words[8][2 * sizeof(T)];
};

__device__ __forceinline__ float element(const Patch<bf16>& patch, int row, int col) {
    const uint32 word = patch.words[row][col / 2];
    return __uint_as_float(col % 2 ? word & 0xffff0000u : word << 16);
}

__device__ __forceinline__ float element(const Patch<f16>& patch, int row, int col) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(uint16(patch.words[row][col / 2] >> col % 2 * 16)));
    return x;
}

__device__ __forceinline__ float element(const Patch<f32>& patch, int row, int col) {
    return __uint_as_float(patch.words[row][col]);
}

// The high bytes of four elements, with their signs; STEP_ROW, STEP_COL lead from one to the next.
template <int STEP_ROW, int STEP_COL, typename T>
__device__ __forceinline__ uint32 high_bytes(const Patch<T>& patch, int row, int col) {
    constexpr int in_word = 4 / sizeof(T);
    uint32 pairs[2];
    #pragma unroll
    for (int i = 0; i < 2; ++i) {
        const int r0 = row + 2 * i * STEP_ROW, c0 = col + 2 * i * STEP_COL, r1 = r0 + STEP_ROW, c1 = c0 + STEP_COL;
        const uint32 byte0 = (c0 % in_word + 1) * sizeof(T) - 1, byte1 = (c1 % in_word + 1) * sizeof(T) - 1;
        pairs[i] = __byte_perm(patch.words[r0][c0 / in_word], patch.words[r1][c1 / in_word], byte0 | (byte1 + 4) << 4);
    }
    return __byte_perm(pairs[0], pairs[1], 0x5410);
}

// Elements are unpacked anew for each use from here on: left alone, compilers keep all 64 in registers from one to the next.
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
                load_16_bytes(&patch.words[i][j * sizeof(T) / 4], from + i * row_stride + j, i < rows && cols > 0);
            }
        }
    } else {
        constexpr int in_word = 4 / sizeof(T);
        #pragma unroll
        for (int i = 0; i < 8; ++i) {
            #pragma unroll
            for (int word = 0; word < 8 / in_word; ++word) {
                uint32 bits = 0;
                #pragma unroll
                for (int j = 0; j < in_word; ++j) {
                    const int col = word * in_word + j;
                    if (i < rows && col < cols) bits |= bits_of(from[i * row_stride + col]) << j * 16;
                }
                patch.words[i][word] = bits;
            }
        }
    }
}

// ---- e4m3, at most 448 ----
struct e4m3 {
    unsigned char bits;
    static constexpr float LARGEST = 448.0f;
};

// Four values in a word, the first in its low byte: to the nearest (ties to even); what is too large, infinities
// included, to the largest. NaN becomes 0x7f.
__device__ __forceinline__ uint32 round_four(e4m3*, const float (&x)[4]) {
    uint32 word;
    asm("{\n"
        ".reg .b16 low, high;\n"
        "cvt.rn.satfinite.e4m3x2.f32 low, %2, %1;\n"
        "cvt.rn.satfinite.e4m3x2.f32 high, %4, %3;\n"
        "mov.b32 %0, {low, high};\n"
        "}"
        : "=r"(word)
        : "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]));
    return word;
}

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

// ---- largest magnitudes of all warps, through a tile of shared memory with a row for each ----
__device__ __forceinline__ void store_maxima(uint32 to, const OfColumns& most, int thread) {
    if (thread % 32 >= 16) return;
    #pragma unroll
    for (int i = 0; i < 8; i += 4) {
        asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(to + thread / 32 * 512 + thread % 16 * 32 + i * 4),
                     "f"(most.values[i]), "f"(most.values[i + 1]), "f"(most.values[i + 2]), "f"(most.values[i + 3])
                     : "memory");
    }
}

__device__ __forceinline__ void store_maxima(uint32 to, const OfBlock& most, int thread) {
    if (thread % 32 == 0) {
        asm volatile("st.shared.f32 [%0], %1;" ::"r"(to + thread / 32 * 16), "f"(most.values[0]) : "memory");
    }
}

template <int WARPS>
__device__ __forceinline__ void load_maxima(OfColumns& most, uint32 from, int thread) {
    #pragma unroll
    for (int warp = 0; warp < WARPS; ++warp) {
        #pragma unroll
        for (int i = 0; i < 8; i += 4) {
            float x[4];
            asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                         : "=f"(x[0]), "=f"(x[1]), "=f"(x[2]), "=f"(x[3])
                         : "r"(from + warp * 512 + thread % 16 * 32 + i * 4)
                         : "memory");
            #pragma unroll
            for (int j = 0; j < 4; ++j) most.values[i + j] = fmaxf(most.values[i + j], x[j]);
        }
    }
}

template <int WARPS>
__device__ __forceinline__ void load_maxima(OfBlock& most, uint32 from, int) {
    #pragma unroll
    for (int warp = 0; warp < WARPS; ++warp) {
        float x;
        asm volatile("ld.shared.f32 %0, [%1];" : "=f"(x) : "r"(from + warp * 16) : "memory");
        most.values[0] = fmaxf(most.values[0], x);
    }
}

// ---- rounding a patch: its elements times the inverses of their scales ----

// Four elements in a word: STEP_ROW, STEP_COL lead from one to the next. Signs are the source's, which a product and a
// conversion keep of all but NaN.
template <typename F, int STEP_ROW, int STEP_COL, typename T, typename S>
__device__ __forceinline__ uint32 quantize_four(const Patch<T>& patch, const S& inverses, int row, int col) {
    float scaled[4];
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int r = row + i * STEP_ROW, c = col + i * STEP_COL;
        scaled[i] = element(patch, r, c) * inverses.values[S::of(r, c)];
    }
    const uint32 rounded = round_four(static_cast<F*>(nullptr), scaled);
    return (rounded & 0x7f7f7f7fu) | (high_bytes<STEP_ROW, STEP_COL>(patch, row, col) & 0x80808080u);
}

// Writes the rounded patch to `to`, of which so many rows and columns (any values) exist. Aligned, rows start at multiples
// of 16 bytes and columns exist 8 at a time.
template <typename F, typename T, typename S>
__device__ __forceinline__ void store_patch(F* to, int64 row_stride, Patch<T>& patch, const S& inverses, int rows, int cols,
                                            bool aligned) {
    keep_packed(patch);
    #pragma unroll
    for (int i = 0; i < 8; ++i) {
        const uint32 words[2] = {quantize_four<F, 0, 1>(patch, inverses, i, 0),
                                 quantize_four<F, 0, 1>(patch, inverses, i, 4)};
        F* const row = to + i * row_stride;
        if (aligned) {
            if (i < rows && cols > 0) *reinterpret_cast<uint2*>(row) = make_uint2(words[0], words[1]);
        } else {
            #pragma unroll
            for (int j = 0; j < 8; ++j) {
                if (i < rows && j < cols) row[j].bits = static_cast<unsigned char>(words[j / 4] >> j % 4 * 8);
            }
        }
    }
}

// ---- the transpose: a block's columns as rows of 128 bytes in shared memory ----

// A column of the patch is half a piece of a row; `to` is the first column's, the others' are `row_bytes` apart.
template <typename F, typename T, typename S>
__device__ __forceinline__ void transpose_patch(uint32 to, uint32 row_bytes, Patch<T>& patch, const S& inverses) {
    keep_packed(patch);
    #pragma unroll
    for (int j = 0; j < 8; ++j) {
        const uint32 low = quantize_four<F, 1, 0>(patch, inverses, 0, j);
        const uint32 high = quantize_four<F, 1, 0>(patch, inverses, 4, j);
        asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(to + j * row_bytes), "r"(low), "r"(high) : "memory");
    }
}

// Writes 16 bytes of a row, of which `left` (any value) exist. Aligned, they start at a multiple of 16, and all or none
// exist.
template <typename F>
__device__ __forceinline__ void store_piece(F* to, uint32 from, int left, bool aligned) {
    uint32 words[4];
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(from)
                 : "memory");
    if (aligned) {
        if (left > 0) *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
    } else {
        #pragma unroll
        for (int i = 0; i < 16; ++i) {
            if (i < left) to[i].bits = static_cast<unsigned char>(words[i / 4] >> i % 4 * 8);
        }
    }
}

// Byte offset of a 16-byte piece in one of transposed, each [128, 128]:
// rows of 128 bytes, pieces swizzled by row.
__device__ __forceinline__ uint32 transposed_piece(uint32 row, uint32 piece) {
    return row * 128 + (piece ^ row / 8) % 8 * 16;
}

extern "C" __global__ void __launch_bounds__(256, 2)
ggemm_quantize_f32_e4m3_row_ragged_colst_sm89(
    const f32* __restrict__ source,
    const void* __restrict__ groups,
    const int group_count,
    const bool groups_are_ends,
    const bool groups_are_i64,
    const bool merge_groups,
    const int rows,
    const int cols,
    const bool powers_of_two,
    const bool aligned,
    e4m3* __restrict__ copy,
    const int64 row_stride,
    f32* __restrict__ scales,
    const int64 scale_group_stride)
{
    const int thread = threadIdx.x;
    __builtin_assume(0 <= thread && thread < 256);
    const int lane = thread % 32;

    extern __shared__ __align__(1024) unsigned char shared_memory[];
    const uint32 maxima = shared_address(shared_memory);  // 1 x 4096 bytes
    const uint32 transposed = shared_address(shared_memory) + 4096;  // 1 x 16384 bytes

    Patch<f32> patch;
    OfColumns scales_of_patch;

    const int col_tiles = ceil_div(cols, 128);
    // The window: 32 consecutive groups, one a lane.
    int first_group = -32;
    int start = 0;
    int end = 0;
    int tiles_end = 0;
    int tile = int(blockIdx.x);
    while (true) {
        while (true) {
            const uint32 past = __ballot_sync(ALL_LANES, tile < tiles_end);
            if (past != 0u || group_count < first_group + 32) break;
            first_group = first_group + 32;
            const int group_of_lane = first_group + lane;
            const int64 entry = group_of_lane < group_count ? load_index(groups, group_of_lane, groups_are_i64) : 0LL;
            const int clipped = int(min_of(max_of(entry, 0LL), int64(rows)));
            // Ends become running maxima, sizes a running sum; both are clipped to the token matrix.
            int running = clipped;
            const int below = __shfl_up_sync(ALL_LANES, running, 1);
            running = lane >= 1 ? (groups_are_ends ? max_of(running, below) : running + min_of(below, rows - running)) : running;
            const int below_2 = __shfl_up_sync(ALL_LANES, running, 2);
            running = lane >= 2 ? (groups_are_ends ? max_of(running, below_2) : running + min_of(below_2, rows - running)) : running;
            const int below_3 = __shfl_up_sync(ALL_LANES, running, 4);
            running = lane >= 4 ? (groups_are_ends ? max_of(running, below_3) : running + min_of(below_3, rows - running)) : running;
            const int below_4 = __shfl_up_sync(ALL_LANES, running, 8);
            running = lane >= 8 ? (groups_are_ends ? max_of(running, below_4) : running + min_of(below_4, rows - running)) : running;
            const int below_5 = __shfl_up_sync(ALL_LANES, running, 16);
            running = lane >= 16 ? (groups_are_ends ? max_of(running, below_5) : running + min_of(below_5, rows - running)) : running;
            const int rows_before = __shfl_sync(ALL_LANES, end, 31);
            const int end_of_lane = groups_are_ends ? max_of(rows_before, running) : rows_before + min_of(running, rows - rows_before);
            const int end_below = __shfl_up_sync(ALL_LANES, end_of_lane, 1);
            start = lane == 0 ? rows_before : end_below;
            end = end_of_lane;
            // Merged, there is one group: lane 0 of the last window has all rows.
            const int rows_through = __shfl_sync(ALL_LANES, end, 31);
            if (merge_groups) {
                start = 0;
                end = rows_through;
            }
            const int tiles_of_lane = (merge_groups ? lane == 0 && group_count < first_group + 32 : first_group + lane < group_count) ? col_tiles : 0;
            int tiles_running = tiles_of_lane;
            const int below_6 = __shfl_up_sync(ALL_LANES, tiles_running, 1);
            tiles_running = lane >= 1 ? tiles_running + below_6 : tiles_running;
            const int below_7 = __shfl_up_sync(ALL_LANES, tiles_running, 2);
            tiles_running = lane >= 2 ? tiles_running + below_7 : tiles_running;
            const int below_8 = __shfl_up_sync(ALL_LANES, tiles_running, 4);
            tiles_running = lane >= 4 ? tiles_running + below_8 : tiles_running;
            const int below_9 = __shfl_up_sync(ALL_LANES, tiles_running, 8);
            tiles_running = lane >= 8 ? tiles_running + below_9 : tiles_running;
            const int below_10 = __shfl_up_sync(ALL_LANES, tiles_running, 16);
            tiles_running = lane >= 16 ? tiles_running + below_10 : tiles_running;
            const int tiles_before = __shfl_sync(ALL_LANES, tiles_end, 31);
            tiles_end = tiles_before + tiles_running;
        }
        // The first lane whose tiles end past this one has its group. Without one, no tile is left.
        const uint32 holders = __ballot_sync(ALL_LANES, tile < tiles_end);
        if (holders == 0u) break;
        const int holder = first_lane(holders);
        const int start_of_group = __shfl_sync(ALL_LANES, start, holder);
        const int end_of_group = __shfl_sync(ALL_LANES, end, holder);
        const int tiles_end_of_group = __shfl_sync(ALL_LANES, tiles_end, holder);
        const int group = merge_groups ? 0 : first_group + holder;
        const int group_start = start_of_group;
        const int group_rows = end_of_group - start_of_group;
        const int row_tiles = 1;
        // Bands of row tiles, column by column: neighbours in time share operands in L2.
        const int tile_in_group = tile - (tiles_end_of_group - row_tiles * col_tiles);
        const int band = tile_in_group / col_tiles;
        const int tile_in_band = tile_in_group - band * col_tiles;
        const int band_rows = min_of(row_tiles - band, 1);
        const int tile_col = tile_in_band / band_rows * 128;
        const int blocks = ceil_div(group_rows, 128);
        scales_of_patch = {};
        #pragma unroll 1
        for (int block_read = 0; block_read < blocks; ++block_read) {
            const int row_of_block = block_read * 128;
            {
                const int row = thread / 16 * 8, col = thread % 16 * 8;
                const f32* const from = source + ((int64(group_start) + int64(row_of_block)) * int64(cols) + int64(tile_col))
                    + (row * int64(cols) + col);
                load_patch(patch, from, int64(cols), group_rows - row_of_block - row, cols - tile_col - col, aligned);
            }
            fold_maxima(scales_of_patch, patch);
        }
        reduce_maxima(scales_of_patch);
        store_maxima(maxima, scales_of_patch, thread);
        __syncthreads();
        load_maxima<8>(scales_of_patch, maxima, thread);
        make_scales<e4m3>(scales_of_patch, powers_of_two);
        {
            const int col = thread % 16 * 8;
            f32* const to = scales + (int64(group) * scale_group_stride + int64(tile_col))
                + col;
            store_scales(to, scales_of_patch, thread, cols - tile_col - col);
        }
        invert_scales(scales_of_patch);
        // No warp may still read the maxima when the next columns' are written.
        __syncthreads();
        #pragma unroll 1
        for (int block_rounded = 0; block_rounded < blocks; ++block_rounded) {
            const int row_of_block = block_rounded * 128;
            {
                const int row = thread / 16 * 8, col = thread % 16 * 8;
                const f32* const from = source + ((int64(group_start) + int64(row_of_block)) * int64(cols) + int64(tile_col))
                    + (row * int64(cols) + col);
                load_patch(patch, from, int64(cols), group_rows - row_of_block - row, cols - tile_col - col, aligned);
            }
            {
                const int col = thread % 16 * 8, piece = thread / 32, half = thread / 16 % 2;
                const uint32 to = transposed + transposed_piece(col, piece) + half * 8;
                transpose_patch<e4m3>(to, 128, patch, scales_of_patch);
            }
            __syncthreads();
            {
                const int piece = thread % 8;
                e4m3* const to = copy + (int64(tile_col) * row_stride + int64((group_start / 128 + group) * 128) + int64(row_of_block))
                    + (piece * 16);
                #pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int row = thread / 8 + i * 32;
                    store_piece(to + row * row_stride, transposed + transposed_piece(row, piece), row < cols - tile_col ? 16 : 0, aligned);
                }
            }
            // No warp may still read the tile when the next block is written to it.
            __syncthreads();
        }
        tile = tile + int(gridDim.x);
    }
}
