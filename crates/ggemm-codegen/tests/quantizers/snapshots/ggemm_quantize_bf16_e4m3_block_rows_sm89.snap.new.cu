// ggemm_quantize_bf16_e4m3_block_rows_sm89
//
// bf16 to e4m3, as they lie, a scale for each 1 x 128 elements
// 256 threads a CTA, 0 bytes of shared memory, rows aligned to 4 bytes.
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

extern "C" __global__ void __launch_bounds__(256, 3)
ggemm_quantize_bf16_e4m3_block_rows_sm89(
    const bf16* __restrict__ source,
    const int matrices,
    const int rows,
    const int cols,
    const bool powers_of_two,
    const bool aligned,
    e4m3* __restrict__ copy,
    const int64 row_stride,
    const int64 group_stride,
    f32* __restrict__ scales,
    const int64 scale_group_stride,
    const int64 scale_row_stride)
{
    const int thread = threadIdx.x;
    __builtin_assume(0 <= thread && thread < 256);

    Patch<bf16> patch;
    OfRows scales_of_patch;

    const int col_tiles = ceil_div(cols, 128);
    const int blocks_of_each = ceil_div(rows, 128) * col_tiles;
    int block = int(blockIdx.x);
    while (true) {
        if (block >= matrices * blocks_of_each) break;
        const int matrix = block / blocks_of_each;
        const int block_of_matrix = block - matrix * blocks_of_each;
        const int first_row = block_of_matrix / col_tiles * 128;
        const int first_col = (block_of_matrix - block_of_matrix / col_tiles * col_tiles) * 128;
        {
            const int row = thread / 16 * 8, col = thread % 16 * 8;
            const bf16* const from = source + ((int64(matrix) * int64(rows) + int64(first_row)) * int64(cols) + int64(first_col))
                + (row * int64(cols) + col);
            load_patch(patch, from, int64(cols), rows - first_row - row, cols - first_col - col, aligned);
        }
        scales_of_patch = {};
        fold_maxima(scales_of_patch, patch);
        reduce_maxima(scales_of_patch);
        make_scales<e4m3>(scales_of_patch, powers_of_two);
        {
            const int row = thread / 16 * 8;
            f32* const to = scales + (int64(matrix) * scale_group_stride + int64(first_row) * scale_row_stride + int64(first_col / 128))
                + (row * scale_row_stride);
            store_scales(to, scale_row_stride, scales_of_patch, thread, rows - first_row - row);
        }
        invert_scales(scales_of_patch);
        {
            const int row = thread / 16 * 8, col = thread % 16 * 8;
            e4m3* const to = copy + (int64(matrix) * group_stride + int64(first_row) * row_stride + int64(first_col))
                + (row * row_stride + col);
            store_patch(to, row_stride, patch, scales_of_patch, rows - first_row - row, cols - first_col - col, aligned);
        }
        block = block + int(gridDim.x);
    }
}
