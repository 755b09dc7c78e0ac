// ---- scales: read where they exist, and asked for where the text says, ahead of what hides their latency ----
__device__ __forceinline__ float load_scale(const float* from, bool exists) {
    float scale = 0.0f;
    asm volatile("{\n"
                 ".reg .pred exists;\n"
                 "setp.ne.b32 exists, %2, 0;\n"
                 "@exists ld.global.f32 %0, [%1];\n"
                 "}"
                 : "+f"(scale)
                 : "l"(from), "r"(int(exists)));
    return scale;
}

// Those of two neighbouring columns, which both exist.
__device__ __forceinline__ void load_scale_pair(float (&to)[2], const float* from) {
    asm volatile("ld.global.v2.f32 {%0, %1}, [%2];" : "=f"(to[0]), "=f"(to[1]) : "l"(from));
}

// Whether `wanted` scales can be read in pairs: all exist, and lie at a multiple of 8 bytes.
__device__ __forceinline__ bool are_pairs(const float* from, int wanted, int left) {
    return wanted <= left && reinterpret_cast<uint64>(from) % 8 == 0;
}

