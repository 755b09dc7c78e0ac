// ---- scales in shared memory: copied behind the threads' backs ----

// Becomes 0 where it does not exist, and is not read.
__device__ __forceinline__ void copy_scale(uint32 to, const float* from, bool exists) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(exists ? 4 : 0) : "memory");
}

// Those of four blocks that follow each other.
__device__ __forceinline__ void copy_four_scales(uint32 to, const float* from, bool exist) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(exist ? 16 : 0) : "memory");
}

// Whether scales can be copied by four: so many blocks exist, follow each other and lie at multiples of 16 bytes.
__device__ __forceinline__ bool are_fours(const float* from, int64 stride, int64 block_stride, int blocks) {
    return blocks >= 4 && block_stride == 1 && stride % 4 == 0 && reinterpret_cast<uint64>(from) % 16 == 0;
}

// The thread arrives once all copies that it has asked for have landed.
__device__ __forceinline__ void mbarrier_arrive_when_copied(uint32 barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

__device__ __forceinline__ float read_scale(uint32 from) {
    float scale;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(scale) : "r"(from) : "memory");
    return scale;
}

// Those of two neighbouring columns.
__device__ __forceinline__ void read_scale_pair(float (&to)[2], uint32 from) {
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(to[0]), "=f"(to[1]) : "r"(from) : "memory");
}

