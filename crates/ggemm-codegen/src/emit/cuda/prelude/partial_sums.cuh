// ---- sums between the CTAs of the grid, four at a time: past L1, where no CTA sees what another wrote ----
__device__ __forceinline__ void save_sums(float* to, const float (&sums)[4]) {
    asm volatile("st.global.cg.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(sums[0]), "f"(sums[1]), "f"(sums[2]),
                 "f"(sums[3])
                 : "memory");
}

__device__ __forceinline__ void add_saved_sums(const float* from, float (&sums)[4]) {
    float saved[4];
    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(saved[0]), "=f"(saved[1]), "=f"(saved[2]), "=f"(saved[3])
                 : "l"(from)
                 : "memory");
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
        sums[i] += saved[i];
    }
}

// Waits for a value; what was released with it is visible after.
__device__ __forceinline__ void await_word(const int* word, int value) {
    int seen;
    do {
        asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(seen) : "l"(word) : "memory");
    } while (seen != value);
}

