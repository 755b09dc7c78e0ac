// ---- bulk loads to every CTA of the cluster with a bit in `ranks`, counted on the barrier of each ----
__device__ __forceinline__ void tma_load_multicast(uint32 to, const TensorMap& map, uint32 barrier, uint16 ranks,
                                                   int c0, int c1) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"
                 " [%0], [%1, {%4, %5}], [%2], %3;" ::"r"(to),
                 "l"(&map), "r"(barrier), "h"(ranks), "r"(c0), "r"(c1)
                 : "memory");
}

__device__ __forceinline__ void tma_load_multicast(uint32 to, const TensorMap& map, uint32 barrier, uint16 ranks,
                                                   int c0, int c1, int c2) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"
                 " [%0], [%1, {%4, %5, %6}], [%2], %3;" ::"r"(to),
                 "l"(&map), "r"(barrier), "h"(ranks), "r"(c0), "r"(c1), "r"(c2)
                 : "memory");
}

__device__ __forceinline__ void tma_load_multicast(uint32 to, const TensorMap& map, uint32 barrier, uint16 ranks,
                                                   int c0, int c1, int c2, int c3) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"
                 " [%0], [%1, {%4, %5, %6, %7}], [%2], %3;" ::"r"(to),
                 "l"(&map), "r"(barrier), "h"(ranks), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
}

__device__ __forceinline__ void tma_load_multicast(uint32 to, const TensorMap& map, uint32 barrier, uint16 ranks,
                                                   int c0, int c1, int c2, int c3, int c4) {
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"
                 " [%0], [%1, {%4, %5, %6, %7, %8}], [%2], %3;" ::"r"(to),
                 "l"(&map), "r"(barrier), "h"(ranks), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
                 : "memory");
}

