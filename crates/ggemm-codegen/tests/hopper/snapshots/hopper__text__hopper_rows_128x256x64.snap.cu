// hopper_rows_128x256x64
//
// d[rows of g] = a[rows of g] · b[g]ᵀ
// 384 threads a CTA, 213040 bytes of shared memory, rows aligned to 16 bytes.
// Written by ggemm 0.1.0. Needs no header; compile with nvcc or NVRTC, C++17.

// ---- types: 16-bit floats are kept as bits, so that no header is needed ----
using uint16 = unsigned short;
using uint32 = unsigned int;
using int64 = long long;
struct bf16 { uint16 bits; };
struct f16 { uint16 bits; };
using f32 = float;

__device__ __forceinline__ int min_of(int a, int b) { return a < b ? a : b; }
__device__ __forceinline__ int64 min_of(int64 a, int64 b) { return a < b ? a : b; }
__device__ __forceinline__ int max_of(int a, int b) { return a > b ? a : b; }
__device__ __forceinline__ int64 max_of(int64 a, int64 b) { return a > b ? a : b; }

// Quotient of non-negative integers, rounded up, without overflow.
__device__ __forceinline__ int ceil_div(int a, int b) { return a / b + (a % b != 0); }

// ---- the warp: group sizes and lane exchange ----
constexpr uint32 ALL_LANES = 0xffffffffu;

// Entry `index` of an array of int (or of int64), read through the read-only path.
__device__ __forceinline__ int64 load_index(const void* array, int index, bool wide) {
    return wide ? __ldg(static_cast<const int64*>(array) + index)
                : static_cast<int64>(__ldg(static_cast<const int*>(array) + index));
}

// The lowest lane in a mask that is not empty.
__device__ __forceinline__ int first_lane(uint32 mask) { return __ffs(mask) - 1; }

// ---- shared memory by its 32-bit address ----
__device__ __forceinline__ uint32 shared_address(const void* p) {
    return static_cast<uint32>(__cvta_generic_to_shared(p));
}

// ---- roles: warps that do something of their own ----

// The warp's index in its CTA, known to the compiler to be the same in all lanes.
__device__ __forceinline__ int warp_index() { return __shfl_sync(ALL_LANES, int(threadIdx.x) / 32, 0); }

// True in one lane of the warp, always the same.
__device__ __forceinline__ bool elect_one() {
    uint32 elected;
    asm volatile("{\n"
                 ".reg .pred elected;\n"
                 "elect.sync _|elected, %1;\n"
                 "selp.u32 %0, 1, 0, elected;\n"
                 "}"
                 : "=r"(elected)
                 : "r"(ALL_LANES)
                 : "memory");
    return elected != 0;
}

// Gives back all but N registers of each thread; waits until there are N for each.
template <int N>
__device__ __forceinline__ void shrink_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

template <int N>
__device__ __forceinline__ void grow_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

// `threads` threads meet at the barrier `id`, or pass it without waiting.
__device__ __forceinline__ void named_barrier_meet(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void named_barrier_pass(int id, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// ---- clusters of CTAs ----
__device__ __forceinline__ int cluster_rank() {
    int rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

__device__ __forceinline__ int cluster_index() {
    int index;
    asm("mov.u32 %0, %%clusterid.x;" : "=r"(index));
    return index;
}

__device__ __forceinline__ int cluster_count() {
    int count;
    asm("mov.u32 %0, %%nclusterid.x;" : "=r"(count));
    return count;
}

// All threads of the cluster meet: what each did before its arrival is visible after the others' wait.
__device__ __forceinline__ void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }

__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

// ---- mbarrier: arrivals and bytes counted in shared memory, phase by phase ----
__device__ __forceinline__ void mbarrier_init(uint32 barrier, uint32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Makes this thread's initializations visible to the cluster and to the copy engine.
__device__ __forceinline__ void mbarrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

__device__ __forceinline__ void mbarrier_arrive(uint32 barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// The phase waits for `bytes` bytes on top.
__device__ __forceinline__ void mbarrier_arrive_expect(uint32 barrier, uint32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ __forceinline__ bool mbarrier_has_ended(uint32 barrier, uint32 parity) {
    uint32 ended;
    asm volatile("{\n"
                 ".reg .pred ended;\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, ended;\n"
                 "}"
                 : "=r"(ended)
                 : "r"(barrier), "r"(parity)
                 : "memory");
    return ended != 0;
}

// Waits for the end of the phase with this parity.
__device__ __forceinline__ void mbarrier_wait(uint32 barrier, uint32 parity) {
    while (!mbarrier_has_ended(barrier, parity)) {
    }
}

// ---- tensor maps: what the host encoded for the copy engine ----
struct alignas(64) TensorMap { unsigned char bytes[128]; };

__device__ __forceinline__ void prefetch_tensor_map(const TensorMap& map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// ---- bulk loads: a box of a tensor to shared memory, its bytes counted on a barrier ----
__device__ __forceinline__ void tma_load(uint32 to, const TensorMap& map, uint32 barrier, int c0, int c1) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%3, %4}], [%2];" ::"r"(to),
                 "l"(&map), "r"(barrier), "r"(c0), "r"(c1)
                 : "memory");
}

__device__ __forceinline__ void tma_load(uint32 to, const TensorMap& map, uint32 barrier, int c0, int c1, int c2) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(to),
                 "l"(&map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2)
                 : "memory");
}

__device__ __forceinline__ void tma_load(uint32 to, const TensorMap& map, uint32 barrier, int c0, int c1, int c2, int c3) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
                 "l"(&map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
}

__device__ __forceinline__ void tma_load(uint32 to, const TensorMap& map, uint32 barrier, int c0, int c1, int c2, int c3, int c4) {
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(to),
                 "l"(&map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
                 : "memory");
}

// ---- bulk stores: a box of a tensor from shared memory; what does not exist is not written ----
__device__ __forceinline__ void tma_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

// Waits until at most N of this thread's groups still read shared memory, or are still being written.
template <int N>
__device__ __forceinline__ void tma_wait_reads() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}

template <int N>
__device__ __forceinline__ void tma_wait() {
    asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
}

__device__ __forceinline__ void tma_store(uint32 from, const TensorMap& map, int c0, int c1) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%1, {%2, %3}], [%0];" ::"r"(from),
                 "l"(&map), "r"(c0), "r"(c1)
                 : "memory");
}

__device__ __forceinline__ void tma_store(uint32 from, const TensorMap& map, int c0, int c1, int c2) {
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%1, {%2, %3, %4}], [%0];" ::"r"(from),
                 "l"(&map), "r"(c0), "r"(c1), "r"(c2)
                 : "memory");
}

__device__ __forceinline__ void tma_store(uint32 from, const TensorMap& map, int c0, int c1, int c2, int c3) {
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%1, {%2, %3, %4, %5}], [%0];" ::"r"(from),
                 "l"(&map), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
}

__device__ __forceinline__ void tma_store(uint32 from, const TensorMap& map, int c0, int c1, int c2, int c3, int c4) {
    asm volatile("cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group [%1, {%2, %3, %4, %5, %6}], [%0];" ::"r"(from),
                 "l"(&map), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
                 : "memory");
}

// ---- proxies: ordinary stores to shared memory become visible to the copy engine and to wgmma ----
__device__ __forceinline__ void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// ---- wgmma: products of a warpgroup, whose sums nobody may touch until they are waited for ----
using uint64 = unsigned long long;

// An operand in shared memory: where it starts, and how its panels lie.
__device__ __forceinline__ uint64 wgmma_descriptor(uint32 address, uint64 panels) {
    return panels | (address & 0x3ffff) >> 4;
}

// The operand so many times 16 bytes further on: the address is in the lower half, and carries nothing into the other.
__device__ __forceinline__ uint64 wgmma_advance(uint64 operand, uint32 pieces) {
    uint32 low, high;
    asm("mov.b64 {%0, %1}, %2;" : "=r"(low), "=r"(high) : "l"(operand));
    asm("mov.b64 %0, {%1, %2};" : "=l"(operand) : "r"(low + pieces), "r"(high));
    return operand;
}

// Orders this thread's accesses to sums before the products that follow.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most N groups are in flight.
template <int N>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// Keeps the compiler from reading sums before the wait above this.
template <int N>
__device__ __forceinline__ void wgmma_release(float (&sums)[N][4]) {
    #pragma unroll
    for (int j = 0; j < N; ++j) {
        asm volatile("" : "+f"(sums[j][0]), "+f"(sums[j][1]), "+f"(sums[j][2]), "+f"(sums[j][3])::"memory");
    }
}

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

// ---- two f32 sums, rounded to the nearest bf16 (ties to even), the first in the low half ----
__device__ __forceinline__ uint32 pack_bf16(float low, float high) {
    uint32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %2, %1;" : "=r"(pair) : "f"(low), "f"(high));
    return pair;
}

// Byte offset of a 16-byte piece in one of d_tiles, each [64, 256]:
// 4 panels, rows of 128 bytes, pieces swizzled by row.
__device__ __forceinline__ uint32 d_tiles_piece(uint32 row, uint32 piece) {
    return piece / 8 * 8192 + row * 128 + (piece ^ row) % 8 * 16;
}

// d[64, 256] (+)= a[64, 16] · b[256, 16]ᵀ in bf16, summed in f32; `keep` adds to what d holds.
__device__ __forceinline__ void wgmma_m64n256k16_ak_bk(float (&d)[32][4], uint64 a, uint64 b, bool keep) {
    asm volatile("{\n"
                 ".reg .pred keep;\n"
                 "setp.ne.b32 keep, %130, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
                 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
                 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
                 "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
                 "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
                 "}, %128, %129, keep, 1, 1, 0, 0;\n"
                 "}"
                 : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]),
                   "+f"(d[1][0]), "+f"(d[1][1]), "+f"(d[1][2]), "+f"(d[1][3]),
                   "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]),
                   "+f"(d[3][0]), "+f"(d[3][1]), "+f"(d[3][2]), "+f"(d[3][3]),
                   "+f"(d[4][0]), "+f"(d[4][1]), "+f"(d[4][2]), "+f"(d[4][3]),
                   "+f"(d[5][0]), "+f"(d[5][1]), "+f"(d[5][2]), "+f"(d[5][3]),
                   "+f"(d[6][0]), "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]),
                   "+f"(d[7][0]), "+f"(d[7][1]), "+f"(d[7][2]), "+f"(d[7][3]),
                   "+f"(d[8][0]), "+f"(d[8][1]), "+f"(d[8][2]), "+f"(d[8][3]),
                   "+f"(d[9][0]), "+f"(d[9][1]), "+f"(d[9][2]), "+f"(d[9][3]),
                   "+f"(d[10][0]), "+f"(d[10][1]), "+f"(d[10][2]), "+f"(d[10][3]),
                   "+f"(d[11][0]), "+f"(d[11][1]), "+f"(d[11][2]), "+f"(d[11][3]),
                   "+f"(d[12][0]), "+f"(d[12][1]), "+f"(d[12][2]), "+f"(d[12][3]),
                   "+f"(d[13][0]), "+f"(d[13][1]), "+f"(d[13][2]), "+f"(d[13][3]),
                   "+f"(d[14][0]), "+f"(d[14][1]), "+f"(d[14][2]), "+f"(d[14][3]),
                   "+f"(d[15][0]), "+f"(d[15][1]), "+f"(d[15][2]), "+f"(d[15][3]),
                   "+f"(d[16][0]), "+f"(d[16][1]), "+f"(d[16][2]), "+f"(d[16][3]),
                   "+f"(d[17][0]), "+f"(d[17][1]), "+f"(d[17][2]), "+f"(d[17][3]),
                   "+f"(d[18][0]), "+f"(d[18][1]), "+f"(d[18][2]), "+f"(d[18][3]),
                   "+f"(d[19][0]), "+f"(d[19][1]), "+f"(d[19][2]), "+f"(d[19][3]),
                   "+f"(d[20][0]), "+f"(d[20][1]), "+f"(d[20][2]), "+f"(d[20][3]),
                   "+f"(d[21][0]), "+f"(d[21][1]), "+f"(d[21][2]), "+f"(d[21][3]),
                   "+f"(d[22][0]), "+f"(d[22][1]), "+f"(d[22][2]), "+f"(d[22][3]),
                   "+f"(d[23][0]), "+f"(d[23][1]), "+f"(d[23][2]), "+f"(d[23][3]),
                   "+f"(d[24][0]), "+f"(d[24][1]), "+f"(d[24][2]), "+f"(d[24][3]),
                   "+f"(d[25][0]), "+f"(d[25][1]), "+f"(d[25][2]), "+f"(d[25][3]),
                   "+f"(d[26][0]), "+f"(d[26][1]), "+f"(d[26][2]), "+f"(d[26][3]),
                   "+f"(d[27][0]), "+f"(d[27][1]), "+f"(d[27][2]), "+f"(d[27][3]),
                   "+f"(d[28][0]), "+f"(d[28][1]), "+f"(d[28][2]), "+f"(d[28][3]),
                   "+f"(d[29][0]), "+f"(d[29][1]), "+f"(d[29][2]), "+f"(d[29][3]),
                   "+f"(d[30][0]), "+f"(d[30][1]), "+f"(d[30][2]), "+f"(d[30][3]),
                   "+f"(d[31][0]), "+f"(d[31][1]), "+f"(d[31][2]), "+f"(d[31][3])
                 : "l"(a), "l"(b), "r"(int(keep)));
}

extern "C" __global__ void __launch_bounds__(384, 1)
hopper_rows_128x256x64(
    const __grid_constant__ TensorMap a,
    const __grid_constant__ TensorMap b,
    const __grid_constant__ TensorMap d,
    const void* __restrict__ groups,
    const int group_count,
    const bool groups_are_i64,
    const int cols,
    const int reduction)
{
    const int lane = int(threadIdx.x) % 32;
    const int warp = warp_index();
    const int warpgroup = warp / 4;

    extern __shared__ __align__(1024) unsigned char shared_memory[];
    const uint32 a_tiles = shared_address(shared_memory);  // 3 x 16384 bytes
    const uint32 b_tiles = shared_address(shared_memory) + 49152;  // 3 x 32768 bytes
    const uint32 d_tiles = shared_address(shared_memory) + 147456;  // 2 x 32768 bytes
    const uint32 stage_full = shared_address(shared_memory) + 212992;  // 3 barriers of 1 arrivals
    const uint32 stage_empty = shared_address(shared_memory) + 213016;  // 3 barriers of 8 arrivals
    const uint64 a_operand = wgmma_descriptor(a_tiles + warpgroup % 2 * 8192, 0x4000004000010000);
    const uint64 b_operand = wgmma_descriptor(b_tiles, 0x4000004000010000);

    float sums[1][32][4];

    if (warp == 0) {
        __syncwarp();
        if (elect_one()) {
            prefetch_tensor_map(a);
            prefetch_tensor_map(b);
            prefetch_tensor_map(d);
        }
        __syncwarp();
    }
    if (warp == 0) {
        __syncwarp();
        if (elect_one()) {
            #pragma unroll
            for (int i = 0; i < 3; ++i) {
                mbarrier_init(stage_full + i * 8, 1);
            }
            #pragma unroll
            for (int i = 0; i < 3; ++i) {
                mbarrier_init(stage_empty + i * 8, 8);
            }
            mbarrier_init_fence();
        }
        __syncwarp();
    }
    __syncthreads();
    const int blocks = ceil_div(reduction, 64);
    // consumers: warps 0 to 7
    if (warp < 8) {
        grow_registers<232>();
        int read_slot = 0;
        int read_parity = 0;
        int free_slot = 0;
        int start = 0;
        int number = 0;
        const int col_tiles = ceil_div(cols, 256);
        #pragma unroll 1
        for (int group = 0; group < group_count; ++group) {
            const int64 entry = lane == 0 ? load_index(groups, group, groups_are_i64) : 0LL;
            const int64 rows_of_group = __shfl_sync(ALL_LANES, entry, 0);
            const int rows = int(rows_of_group);
            const int tiles = ceil_div(rows, 128) * col_tiles;
            // The group's tiles that are this cluster's.
            int tile = (cluster_index() + (cluster_count() - number % cluster_count())) % cluster_count();
            while (true) {
                if (tiles <= tile) break;
                const int first_row = tile / col_tiles * 128;
                const int first_col = (tile % col_tiles + cluster_rank()) * 256;
                #pragma unroll
                for (int i = 0; i < 1; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 32; ++j) {
                        sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0.0f;
                    }
                }
                #pragma unroll 1
                for (int block = 0; block < blocks; ++block) {
                    const int slot = read_slot;
                    mbarrier_wait(stage_full + slot * 8, read_parity);
                    read_parity = read_slot == 2 ? 1 - read_parity : read_parity;
                    read_slot = read_slot == 2 ? 0 : read_slot + 1;
                    wgmma_fence();
                    #pragma unroll
                    for (int step = 0; step < 4; ++step) {
                        {
                            const uint64 from_b = wgmma_advance(b_operand, slot * 2048 + step * 2);
                            const uint64 from_a = wgmma_advance(a_operand, slot * 1024 + step * 2);
                            wgmma_m64n256k16_ak_bk(sums[0], from_a, from_b, true);
                        }
                    }
                    wgmma_commit();
                    wgmma_wait<1>();
                    if (block != 0) {
                        __syncwarp();
                        if (elect_one()) {
                            mbarrier_arrive(stage_empty + free_slot * 8);
                        }
                        __syncwarp();
                        free_slot = free_slot == 2 ? 0 : free_slot + 1;
                    }
                }
                wgmma_wait<0>();
                wgmma_release(sums[0]);
                if (blocks != 0) {
                    __syncwarp();
                    if (elect_one()) {
                        mbarrier_arrive(stage_empty + free_slot * 8);
                    }
                    __syncwarp();
                    free_slot = free_slot == 2 ? 0 : free_slot + 1;
                }
                // The tile is free once the last store has read it.
                if (warp % 4 == 0) {
                    __syncwarp();
                    if (elect_one()) {
                        tma_wait_reads<0>();
                    }
                    __syncwarp();
                }
                named_barrier_meet(warpgroup + 1, 128);
                {
                    const int row_of_warp = warp % 4 * 16 + warpgroup % 2 * 64 - warpgroup * 64;
                    #pragma unroll
                    for (int i = 0; i < 1; ++i) {
                        #pragma unroll
                        for (int j = 0; j < 16; ++j) {
                            const uint32 x0 = pack_bf16(sums[i][j * 2][0], sums[i][j * 2][1]);
                            const uint32 x1 = pack_bf16(sums[i][j * 2][2], sums[i][j * 2][3]);
                            const uint32 x2 = pack_bf16(sums[i][j * 2 + 1][0], sums[i][j * 2 + 1][1]);
                            const uint32 x3 = pack_bf16(sums[i][j * 2 + 1][2], sums[i][j * 2 + 1][3]);
                            stmatrix_x4(d_tiles + warpgroup * 32768 + d_tiles_piece(row_of_warp + lane % 16, j * 2 + lane / 16), x0, x1, x2, x3);
                        }
                    }
                }
                fence_proxy_async();
                named_barrier_meet(warpgroup + 1, 128);
                if (warp % 4 == 0) {
                    __syncwarp();
                    if (elect_one()) {
                        #pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            tma_store(d_tiles + warpgroup * 32768 + i * 8192, d, first_col + i * 64, 1073741824 - (rows - (warpgroup * 64 + first_row)), start + rows, 1073741824);
                        }
                        tma_commit();
                    }
                    __syncwarp();
                }
                tile = tile + cluster_count();
            }
            number = number + tiles;
            start = start + rows;
        }
        if (warp % 4 == 0) {
            __syncwarp();
            if (elect_one()) {
                tma_wait_reads<0>();
            }
            __syncwarp();
        }
    }
    // producers: warps 8 to 11
    else if (warp >= 8) {
        shrink_registers<40>();
        // producer: warp 8
        if (warp == 8) {
            int fill_slot = 0;
            int fill_parity = 1;
            int start = 0;
            int number = 0;
            const int col_tiles = ceil_div(cols, 256);
            #pragma unroll 1
            for (int group = 0; group < group_count; ++group) {
                const int64 entry = lane == 0 ? load_index(groups, group, groups_are_i64) : 0LL;
                const int64 rows_of_group = __shfl_sync(ALL_LANES, entry, 0);
                const int rows = int(rows_of_group);
                const int tiles = ceil_div(rows, 128) * col_tiles;
                // The group's tiles that are this cluster's.
                int tile = (cluster_index() + (cluster_count() - number % cluster_count())) % cluster_count();
                while (true) {
                    if (tiles <= tile) break;
                    const int first_row = tile / col_tiles * 128;
                    const int first_col = (tile % col_tiles + cluster_rank()) * 256;
                    #pragma unroll 1
                    for (int block = 0; block < blocks; ++block) {
                        mbarrier_wait(stage_empty + fill_slot * 8, fill_parity);
                        __syncwarp();
                        if (elect_one()) {
                            mbarrier_arrive_expect(stage_full + fill_slot * 8, 49152);
                            tma_load(a_tiles + fill_slot * 16384, a, stage_full + fill_slot * 8, block * 64, 1073741824 - (rows - first_row), start + rows, 1073741824);
                            tma_load(b_tiles + fill_slot * 32768, b, stage_full + fill_slot * 8, block * 64, first_col, group);
                        }
                        __syncwarp();
                        fill_parity = fill_slot == 2 ? 1 - fill_parity : fill_parity;
                        fill_slot = fill_slot == 2 ? 0 : fill_slot + 1;
                    }
                    tile = tile + cluster_count();
                }
                number = number + tiles;
                start = start + rows;
            }
        }
    }
}
