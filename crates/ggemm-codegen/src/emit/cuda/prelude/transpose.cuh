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

