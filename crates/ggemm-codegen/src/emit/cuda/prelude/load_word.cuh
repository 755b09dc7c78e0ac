// ---- 4 bytes from shared memory: an element whose neighbours lie across the reduction ----
__device__ __forceinline__ uint32 load_word(uint32 from) {
    uint32 word;
    asm volatile("ld.shared.b32 %0, [%1];" : "=r"(word) : "r"(from) : "memory");
    return word;
}

