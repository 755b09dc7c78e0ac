// ---- stores: f32 sums as they are ----
__device__ __forceinline__ void store_one(f32* to, float x) { *to = x; }

__device__ __forceinline__ void store_two(f32* to, float x0, float x1) {
    *reinterpret_cast<float2*>(to) = make_float2(x0, x1);
}

