// ---- words of shared memory ----
__device__ __forceinline__ void write_word(uint32 to, int value) {
    asm volatile("st.shared.s32 [%0], %1;" ::"r"(to), "r"(value) : "memory");
}

__device__ __forceinline__ int read_word(uint32 from) {
    int value;
    asm volatile("ld.shared.s32 %0, [%1];" : "=r"(value) : "r"(from) : "memory");
    return value;
}

