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

