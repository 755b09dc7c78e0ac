// ---- f32 to shared memory ----
__device__ __forceinline__ void store_shared(uint32 to, float x) {
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(to), "f"(x) : "memory");
}

__device__ __forceinline__ void store_shared(uint32 to, float x0, float x1) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(x0), "f"(x1) : "memory");
}

