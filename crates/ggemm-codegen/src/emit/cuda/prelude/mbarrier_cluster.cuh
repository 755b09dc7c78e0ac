// ---- mbarrier: between the CTAs of a cluster ----

// Arrives at the same barrier of the CTA with this rank: what was read here may be overwritten from there. It carries no
// ordinary write to other CTAs; `.release.cluster` would, at the price of a fence of the whole device's memory.
__device__ __forceinline__ void mbarrier_arrive_remote(uint32 barrier, uint32 rank) {
    asm volatile("{\n"
                 ".reg .b32 remote;\n"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
                 "}" ::"r"(barrier),
                 "r"(rank)
                 : "memory");
}
