// ---- roles: warps that do something of their own ----

// The warp's index in its CTA, known to the compiler to be the same in all lanes.
__device__ __forceinline__ int warp_index() { return __shfl_sync(ALL_LANES, int(threadIdx.x) / 32, 0); }

// True in one lane of the warp, always the same.
__device__ __forceinline__ bool elect_one() {
    uint32 elected;
    asm volatile("{\n"
                 ".reg .pred elected;\n"
                 "elect.sync _|elected, %1;\n"
                 "selp.u32 %0, 1, 0, elected;\n"
                 "}"
                 : "=r"(elected)
                 : "r"(ALL_LANES)
                 : "memory");
    return elected != 0;
}

// Gives back all but N registers of each thread; waits until there are N for each.
template <int N>
__device__ __forceinline__ void shrink_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

template <int N>
__device__ __forceinline__ void grow_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

// `threads` threads meet at the barrier `id`, or pass it without waiting.
__device__ __forceinline__ void named_barrier_meet(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void named_barrier_pass(int id, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

