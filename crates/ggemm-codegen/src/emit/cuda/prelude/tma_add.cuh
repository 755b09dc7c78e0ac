// ---- bulk additions: a box of a tensor plus shared memory, each element atomically ----
__device__ __forceinline__ void tma_add(uint32 from, const TensorMap& map, int c0, int c1) {
    asm volatile("cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%1, {%2, %3}], [%0];"
                 ::"r"(from), "l"(&map), "r"(c0), "r"(c1)
                 : "memory");
}

__device__ __forceinline__ void tma_add(uint32 from, const TensorMap& map, int c0, int c1, int c2) {
    asm volatile("cp.reduce.async.bulk.tensor.3d.global.shared::cta.add.tile.bulk_group [%1, {%2, %3, %4}], [%0];"
                 ::"r"(from), "l"(&map), "r"(c0), "r"(c1), "r"(c2)
                 : "memory");
}

__device__ __forceinline__ void tma_add(uint32 from, const TensorMap& map, int c0, int c1, int c2, int c3) {
    asm volatile("cp.reduce.async.bulk.tensor.4d.global.shared::cta.add.tile.bulk_group [%1, {%2, %3, %4, %5}], [%0];"
                 ::"r"(from), "l"(&map), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
}

__device__ __forceinline__ void tma_add(uint32 from, const TensorMap& map, int c0, int c1, int c2, int c3, int c4) {
    asm volatile("cp.reduce.async.bulk.tensor.5d.global.shared::cta.add.tile.bulk_group [%1, {%2, %3, %4, %5, %6}], [%0];"
                 ::"r"(from), "l"(&map), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
                 : "memory");
}

