// ---- sums between the CTAs of a cluster, four at a time ----

// Writes to the same place of the CTA with this rank, whose barrier counts the bytes there.
__device__ __forceinline__ void send_sums(uint32 to, uint32 barrier, uint32 rank, const float (&sums)[4]) {
    asm volatile("{\n"
                 ".reg .b32 remote, counted;\n"
                 "mapa.shared::cluster.u32 remote, %0, %2;\n"
                 "mapa.shared::cluster.u32 counted, %1, %2;\n"
                 "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [remote], {%3, %4, %5, %6}, [counted];\n"
                 "}" ::"r"(to),
                 "r"(barrier), "r"(rank), "f"(sums[0]), "f"(sums[1]), "f"(sums[2]), "f"(sums[3])
                 : "memory");
}

__device__ __forceinline__ void add_sums(uint32 from, float (&sums)[4]) {
    float sent[4];
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(sent[0]), "=f"(sent[1]), "=f"(sent[2]), "=f"(sent[3])
                 : "r"(from)
                 : "memory");
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
        sums[i] += sent[i];
    }
}
