// ---- two f32 sums, rounded to the nearest bf16 (ties to even), the first in the low half ----
__device__ __forceinline__ uint32 pack_bf16(float low, float high) {
    uint32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %2, %1;" : "=r"(pair) : "f"(low), "f"(high));
    return pair;
}

