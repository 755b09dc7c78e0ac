// ---- stmatrix: four 8x8 matrices of 2-byte elements to shared memory, one row address a lane ----
__device__ __forceinline__ void stmatrix_x4(uint32 row, uint32 x0, uint32 x1, uint32 x2, uint32 x3) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(x0), "r"(x1),
                 "r"(x2), "r"(x3)
                 : "memory");
}

// The same to tiles whose rows are the fragment's columns.
__device__ __forceinline__ void stmatrix_x4_trans(uint32 row, uint32 x0, uint32 x1, uint32 x2, uint32 x3) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(x0),
                 "r"(x1), "r"(x2), "r"(x3)
                 : "memory");
}

// Two matrices, whose rows lanes 0 to 15 name.
__device__ __forceinline__ void stmatrix_x2(uint32 row, uint32 x0, uint32 x1) {
    asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(row), "r"(x0), "r"(x1) : "memory");
}

__device__ __forceinline__ void stmatrix_x2_trans(uint32 row, uint32 x0, uint32 x1) {
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(row), "r"(x0), "r"(x1)
                 : "memory");
}

