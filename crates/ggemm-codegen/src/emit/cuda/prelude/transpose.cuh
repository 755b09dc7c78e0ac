// ---- the transpose: a block's columns as rows of bytes in shared memory ----

// A column of the patch is half a piece of a row; `to` is the first column's, the others' are `row_bytes` apart.
template <typename F, typename T, typename S>
__device__ __forceinline__ void transpose_patch(uint32 to, uint32 row_bytes, Patch<T>& patch, const S& scales, int thread) {
    keep_packed(patch);
    const S inverses = gather(scales, thread);
    #pragma unroll
    for (int j = 0; j < 8; ++j) {
        const uint32 low = quantize_four<F, true>(patch, inverses, 0, j);
        const uint32 high = quantize_four<F, true>(patch, inverses, 4, j);
        asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(to + j * row_bytes), "r"(low), "r"(high) : "memory");
    }
}

// Four words of four bytes each become the words of the first, second, third and fourth bytes.
__device__ __forceinline__ void transpose_bytes(uint32& a, uint32& b, uint32& c, uint32& d) {
    const uint32 ab = __byte_perm(a, b, 0x5140), ab_high = __byte_perm(a, b, 0x7362);
    const uint32 cd = __byte_perm(c, d, 0x5140), cd_high = __byte_perm(c, d, 0x7362);
    a = __byte_perm(ab, cd, 0x5410);
    b = __byte_perm(ab, cd, 0x7632);
    c = __byte_perm(ab_high, cd_high, 0x5410);
    d = __byte_perm(ab_high, cd_high, 0x7632);
}

// With one scale for all, words are those of the copy that lies as the block does: compilers round once for both.
template <typename F, typename T>
__device__ __forceinline__ void transpose_patch(uint32 to, uint32 row_bytes, Patch<T>& patch, const OfBlock& scales,
                                                int thread) {
    const OfBlock inverses = gather(scales, thread);
    uint2 words[8];
    #pragma unroll
    for (int i = 0; i < 8; ++i) words[i] = quantize_row<F>(patch, inverses, i);
    #pragma unroll
    for (int i = 0; i < 8; i += 4) {
        transpose_bytes(words[i].x, words[i + 1].x, words[i + 2].x, words[i + 3].x);
        transpose_bytes(words[i].y, words[i + 1].y, words[i + 2].y, words[i + 3].y);
    }
    #pragma unroll
    for (int j = 0; j < 8; ++j) {
        const uint32 low = j < 4 ? words[j].x : words[j - 4].y;
        const uint32 high = j < 4 ? words[j + 4].x : words[j].y;
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
        if (left > 0) __stcs(reinterpret_cast<uint4*>(to), make_uint4(words[0], words[1], words[2], words[3]));
    } else {
        #pragma unroll
        for (int i = 0; i < 16; ++i) {
            if (i < left) to[i].bits = static_cast<unsigned char>(words[i / 4] >> i % 4 * 8);
        }
    }
}

