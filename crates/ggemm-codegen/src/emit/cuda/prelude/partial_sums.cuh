// ---- sums between the CTAs of the grid: past L1, where no CTA sees what another wrote ----
// Each beside those of the warpgroup's other threads. Four of a thread at a time would need neighbouring registers, whose
// banks are then those of the products that promotion adds to them.
__device__ __forceinline__ void save_sums(float* to, const float (&sums)[4]) {
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
        asm volatile("st.global.cg.f32 [%0], %1;" ::"l"(to + i * 128), "f"(sums[i]) : "memory");
    }
}

__device__ __forceinline__ void add_saved_sums(const float* from, float (&sums)[4]) {
    float saved[4];
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
        asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(saved[i]) : "l"(from + i * 128) : "memory");
    }
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

