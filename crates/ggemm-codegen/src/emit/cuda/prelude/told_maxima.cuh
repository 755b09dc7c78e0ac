// ---- largest magnitudes of all CTAs of a cluster, through a tile in each with a row for each ----

// The same place in the shared memory of the CTA with this rank.
__device__ __forceinline__ uint32 address_in_cluster(uint32 address, int rank) {
    uint32 remote;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
    return remote;
}

__device__ __forceinline__ void store_in_cluster(uint32 to, float x) {
    asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(to), "f"(x) : "memory");
}

// All warps have the same values: each tells them to other CTAs.
template <int CTAS, int WARPS>
__device__ __forceinline__ void tell_maxima(uint32 to, const OfRows<32>& most, int thread) {
    const uint32 own = to + cluster_rank() * 32 + thread % 32;
    #pragma unroll
    for (int i = 0; i < CTAS; i += WARPS) {
        const int rank = i + thread / 32;
        if (rank < CTAS && thread % 4 == 0) store_in_cluster(address_in_cluster(own, rank), most.own[0]);
    }
}

// A lane has the columns next to those of the lane before it.
template <int CTAS, int WARPS, int LANES>
__device__ __forceinline__ void tell_maxima(uint32 to, const OfColumns<LANES>& most, int thread) {
    constexpr int own = LANES / 4;
    const uint32 first = to + cluster_rank() * (LANES * 32) + thread % 32 * (own * 4);
    #pragma unroll
    for (int i = 0; i < CTAS; i += WARPS) {
        const int rank = i + thread / 32;
        if (rank < CTAS) {
            const uint32 remote = address_in_cluster(first, rank);
            #pragma unroll
            for (int j = 0; j < own; ++j) store_in_cluster(remote + j * 4, most.own[j]);
        }
    }
}
