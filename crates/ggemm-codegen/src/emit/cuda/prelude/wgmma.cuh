// ---- wgmma: products of a warpgroup, whose sums nobody may touch until they are waited for ----
using uint64 = unsigned long long;

// An operand in shared memory: where it starts, and how its panels lie.
__device__ __forceinline__ uint64 wgmma_descriptor(uint32 address, uint64 panels) {
    return panels | (address & 0x3ffff) >> 4;
}

// The operand so many times 16 bytes further on: the address is in the lower half, and carries nothing into the other.
__device__ __forceinline__ uint64 wgmma_advance(uint64 operand, uint32 pieces) {
    uint32 low, high;
    asm("mov.b64 {%0, %1}, %2;" : "=r"(low), "=r"(high) : "l"(operand));
    asm("mov.b64 %0, {%1, %2};" : "=l"(operand) : "r"(low + pieces), "r"(high));
    return operand;
}

// Orders this thread's accesses to sums before the products that follow.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most N groups are in flight.
template <int N>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// Keeps the compiler from reading sums before the wait above this.
template <int N>
__device__ __forceinline__ void wgmma_release(float (&sums)[N][4]) {
    #pragma unroll
    for (int j = 0; j < N; ++j) {
        asm volatile("" : "+f"(sums[j][0]), "+f"(sums[j][1]), "+f"(sums[j][2]), "+f"(sums[j][3])::"memory");
    }
}

