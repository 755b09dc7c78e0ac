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

