// ---- cp.async: 16 bytes from global to shared memory behind the thread's back ----

// The first `bytes` bytes are read, the rest becomes zero; with 0 bytes nothing is read.
__device__ __forceinline__ void cp_async_16(uint32 to, const void* from, int bytes) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N of this thread's groups are on their way.
template <int N>
__device__ __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

