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

