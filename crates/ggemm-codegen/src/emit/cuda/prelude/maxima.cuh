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

