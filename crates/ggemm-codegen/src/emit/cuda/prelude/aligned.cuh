// ---- reads of 16 aligned bytes, of which elements that start anywhere are taken ----

// 16 aligned bytes, or zeros, without a branch.
__device__ __forceinline__ void load_aligned(uint4& to, const char* from, bool reads) {
    asm volatile("{\n"
                 ".reg .pred reads;\n"
                 "setp.ne.b32 reads, %5, 0;\n"
                 "mov.b32 %0, 0;\n"
                 "mov.b32 %1, 0;\n"
                 "mov.b32 %2, 0;\n"
                 "mov.b32 %3, 0;\n"
                 "@reads ld.global.nc.v4.b32 {%0, %1, %2, %3}, [%4];\n"
                 "}"
                 : "=&r"(to.x), "=&r"(to.y), "=&r"(to.z), "=&r"(to.w)
                 : "l"(from), "r"(int(reads)));
}

