// ---- staging: 8 elements of 2 bytes, one by one from global memory, together to shared memory ----

// Reads the first `left` (any value) of 8 elements; the rest is zero.
template <typename T>
__device__ __forceinline__ void load_piece(uint32 (&piece)[4], const T* from, int left) {
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
        const uint32 low = 2 * i < left ? __ldg(reinterpret_cast<const uint16*>(from) + 2 * i) : 0;
        const uint32 high = 2 * i + 1 < left ? __ldg(reinterpret_cast<const uint16*>(from) + 2 * i + 1) : 0;
        piece[i] = low | high << 16;
    }
}

__device__ __forceinline__ void store_piece(uint32 to, const uint32 (&piece)[4]) {
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(piece[0]), "r"(piece[1]), "r"(piece[2]),
                 "r"(piece[3])
                 : "memory");
}

