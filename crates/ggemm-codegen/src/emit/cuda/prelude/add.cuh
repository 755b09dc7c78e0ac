// ---- accumulation into an existing f32 output ----
__device__ __forceinline__ void add_existing(const f32* from, float& x0, float& x1, int left) {
    if (left >= 1) x0 += from[0];
    if (left >= 2) x1 += from[1];
}

