// ---- mbarrier: between the CTAs of a cluster ----

// Arrives at the same barrier of the CTA with this rank.
__device__ __forceinline__ void mbarrier_arrive_remote(uint32 barrier, uint32 rank) {
    asm volatile("{\n"
                 ".reg .b32 remote;\n"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n"
                 "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n"
                 "}" ::"r"(barrier),
                 "r"(rank)
                 : "memory");
}

__device__ __forceinline__ bool mbarrier_has_ended_in_cluster(uint32 barrier, uint32 parity) {
    uint32 ended;
    asm volatile("{\n"
                 ".reg .pred ended;\n"
                 "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 ended, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, ended;\n"
                 "}"
                 : "=r"(ended)
                 : "r"(barrier), "r"(parity)
                 : "memory");
    return ended != 0;
}

// Waits for the end of the phase with this parity, and sees what other CTAs did before they arrived.
__device__ __forceinline__ void mbarrier_wait_cluster(uint32 barrier, uint32 parity) {
    while (!mbarrier_has_ended_in_cluster(barrier, parity)) {
    }
}

