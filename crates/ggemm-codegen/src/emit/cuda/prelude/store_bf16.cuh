// ---- stores: f32 sums, rounded to the nearest bf16 (ties to even) ----
__device__ __forceinline__ void store_one(bf16* to, float x) {
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to->bits) : "f"(x));
}

__device__ __forceinline__ uint32 round_pair(bf16*, float x0, float x1) {
    uint32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %2, %1;" : "=r"(pair) : "f"(x0), "f"(x1));
    return pair;
}

__device__ __forceinline__ void store_two(bf16* to, float x0, float x1) {
    *reinterpret_cast<uint32*>(to) = round_pair(to, x0, x1);
}

