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

