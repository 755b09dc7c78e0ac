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

