// ggemm_reduction_am_bn_bf16_f32_f32_sm90a_64x128x64_w4x1_s7_pingpong_tma_split2
//
// d[g] = a[rows of g]ᵀ · b[rows of g], with a [rows, m] and b [rows, n]
// 384 threads a CTA, 221744 bytes of shared memory, rows aligned to 16 bytes.
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

// ---- mbarrier: between the CTAs of a cluster ----

// Arrives at the same barrier of the CTA with this rank: what was read here may be overwritten from there. It carries no
// ordinary write to other CTAs; `.release.cluster` would, at the price of a fence of the whole device's memory.
__device__ __forceinline__ void mbarrier_arrive_remote(uint32 barrier, uint32 rank) {
    asm volatile("{\n"
                 ".reg .b32 remote;\n"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
                 "}" ::"r"(barrier),
                 "r"(rank)
                 : "memory");
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

// ---- f32 to shared memory ----
__device__ __forceinline__ void store_shared(uint32 to, float x) {
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(to), "f"(x) : "memory");
}

__device__ __forceinline__ void store_shared(uint32 to, float x0, float x1) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(x0), "f"(x1) : "memory");
}

// ---- words of shared memory ----
__device__ __forceinline__ void write_word(uint32 to, int value) {
    asm volatile("st.shared.s32 [%0], %1;" ::"r"(to), "r"(value) : "memory");
}

__device__ __forceinline__ int read_word(uint32 from) {
    int value;
    asm volatile("ld.shared.s32 %0, [%1];" : "=r"(value) : "r"(from) : "memory");
    return value;
}

// ---- sums between the CTAs of a cluster, four at a time ----

// Writes to the same place of the CTA with this rank, whose barrier counts the bytes there.
__device__ __forceinline__ void send_sums(uint32 to, uint32 barrier, uint32 rank, const float (&sums)[4]) {
    asm volatile("{\n"
                 ".reg .b32 remote, counted;\n"
                 "mapa.shared::cluster.u32 remote, %0, %2;\n"
                 "mapa.shared::cluster.u32 counted, %1, %2;\n"
                 "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [remote], {%3, %4, %5, %6}, [counted];\n"
                 "}" ::"r"(to),
                 "r"(barrier), "r"(rank), "f"(sums[0]), "f"(sums[1]), "f"(sums[2]), "f"(sums[3])
                 : "memory");
}

__device__ __forceinline__ void add_sums(uint32 from, float (&sums)[4]) {
    float sent[4];
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(sent[0]), "=f"(sent[1]), "=f"(sent[2]), "=f"(sent[3])
                 : "r"(from)
                 : "memory");
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
        sums[i] += sent[i];
    }
}
// ---- programmatic dependent launch, which came with sm_90 ----

// Waits until the grids that this one depends on have ended and what they wrote is visible.
__device__ __forceinline__ void await_grid() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the grids that depend on this one start.
__device__ __forceinline__ void launch_dependents() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Byte offset of a 16-byte piece in one of d_panels, each [64, 32]:
// rows of 128 bytes, pieces swizzled by row.
__device__ __forceinline__ uint32 d_panels_piece(uint32 row, uint32 piece) {
    return row * 128 + (piece ^ row) % 8 * 16;
}

// d[64, 128] (+)= a[64, 16] · b[128, 16]ᵀ in bf16, summed in f32; `keep` adds to what d holds.
__device__ __forceinline__ void wgmma_m64n128k16_amn_bmn(float (&d)[16][4], uint64 a, uint64 b, bool keep) {
    asm volatile("{\n"
                 ".reg .pred keep;\n"
                 "setp.ne.b32 keep, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
                 "}, %64, %65, keep, 1, 1, 1, 1;\n"
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
                   "+f"(d[15][0]), "+f"(d[15][1]), "+f"(d[15][2]), "+f"(d[15][3])
                 : "l"(a), "l"(b), "r"(int(keep)));
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(384, 1)
ggemm_reduction_am_bn_bf16_f32_f32_sm90a_64x128x64_w4x1_s7_pingpong_tma_split2(
    const __grid_constant__ TensorMap a,
    const __grid_constant__ TensorMap b,
    const __grid_constant__ TensorMap d,
    const void* __restrict__ groups,
    const int group_count,
    const bool groups_are_ends,
    const bool groups_are_i64,
    const int rows,
    const int cols,
    const int reduction,
    const bool merge_groups,
    const bool accumulate)
{
    const int thread = int(threadIdx.x);
    const int lane = int(threadIdx.x) % 32;
    const int warp = warp_index();

    extern __shared__ __align__(1024) unsigned char shared_memory[];
    const uint32 a_tiles = shared_address(shared_memory);  // 7 x 8192 bytes
    const uint32 b_tiles = shared_address(shared_memory) + 57344;  // 7 x 16384 bytes
    const uint32 d_panels = shared_address(shared_memory) + 172032;  // 2 x 8192 bytes
    const uint32 parts = shared_address(shared_memory) + 188416;  // 4 x 8192 bytes
    const uint32 tile_words = shared_address(shared_memory) + 221184;  // 20 x 16 bytes
    const uint32 stage_full = shared_address(shared_memory) + 221504;  // 7 barriers of 1 arrivals
    const uint32 stage_empty = shared_address(shared_memory) + 221560;  // 7 barriers of 4 arrivals
    const uint32 part_full = shared_address(shared_memory) + 221616;  // 4 barriers of 1 arrivals
    const uint32 part_free = shared_address(shared_memory) + 221648;  // 4 barriers of 4 arrivals
    const uint32 tile_full = shared_address(shared_memory) + 221680;  // 4 barriers of 1 arrivals
    const uint32 tile_empty = shared_address(shared_memory) + 221712;  // 4 barriers of 9 arrivals
    const uint64 a_operand = wgmma_descriptor(a_tiles, 0x4000004002000000);
    const uint64 b_operand = wgmma_descriptor(b_tiles, 0x4000004002000000);

    float sums[1][16][4];

    const int row_tiles_of_each = ceil_div(rows, 64);
    const int col_tiles = ceil_div(cols, 128);
    if (warp == 0) {
        __syncwarp();
        if (elect_one()) {
            #pragma unroll
            for (int i = 0; i < 7; ++i) {
                mbarrier_init(stage_full + i * 8, 1);
            }
            #pragma unroll
            for (int i = 0; i < 7; ++i) {
                mbarrier_init(stage_empty + i * 8, 4);
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(part_full + i * 8, 1);
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(part_free + i * 8, 4);
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(tile_full + i * 8, 1);
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(tile_empty + i * 8, 9);
            }
            mbarrier_init_fence();
        }
        __syncwarp();
    }
    cluster_arrive();
    cluster_wait();
    // What is above may overlap the end of the grid before this one, and the next grid's beginning this one's end.
    await_grid();
    launch_dependents();
    // consumer 0: warps 0 to 3
    if (warp < 4) {
        grow_registers<232>();
        int read_slot = 0;
        int read_parity = 0;
        int free_slot = 0;
        int part_parity = 0;
        int next = 0;
        int read_slot_2 = 0;
        int read_parity_2 = 0;
        int free_slot_2 = 0;
        while (true) {
            const int slot = read_slot_2;
            mbarrier_wait(tile_full + slot * 8, read_parity_2);
            read_parity_2 = read_slot_2 == 3 ? 1 - read_parity_2 : read_parity_2;
            read_slot_2 = read_slot_2 == 3 ? 0 : read_slot_2 + 1;
            const int group = read_word(tile_words + slot * 5 * 16);
            const int group_start = read_word(tile_words + (slot * 5 + 1) * 16);
            const int group_rows = read_word(tile_words + (slot * 5 + 2) * 16);
            const int tile_row = read_word(tile_words + (slot * 5 + 3) * 16);
            const int tile_col = read_word(tile_words + (slot * 5 + 4) * 16);
            __syncwarp();
            if (elect_one()) {
                mbarrier_arrive(tile_empty + free_slot_2 * 8);
            }
            __syncwarp();
            free_slot_2 = free_slot_2 == 3 ? 0 : free_slot_2 + 1;
            if (group == -1) break;
            const int part = ceil_div(group_rows, 128) * 64;
            const int part_start = cluster_rank() * part;
            const int part_length = max_of(min_of(group_rows - part_start, part), 0);
            if (next == 0) {
                #pragma unroll
                for (int i = 0; i < 1; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 16; ++j) {
                        sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0.0f;
                    }
                }
                named_barrier_meet(4, 256);
                const int whole_blocks = part_length / 64;
                const int last_steps = ceil_div(part_length - whole_blocks * 64, 16);
                #pragma unroll 1
                for (int block = 0; block < whole_blocks; ++block) {
                    const int slot_2 = read_slot;
                    mbarrier_wait(stage_full + slot_2 * 8, read_parity);
                    read_parity = read_slot == 6 ? 1 - read_parity : read_parity;
                    read_slot = read_slot == 6 ? 0 : read_slot + 1;
                    wgmma_fence();
                    #pragma unroll
                    for (int step = 0; step < 4; ++step) {
                        {
                            const uint64 from_b = wgmma_advance(b_operand, slot_2 * 1024 + step * 128);
                            const uint64 from_a = wgmma_advance(a_operand, slot_2 * 512 + step * 128);
                            wgmma_m64n128k16_amn_bmn(sums[0], from_a, from_b, true);
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
                        free_slot = free_slot == 6 ? 0 : free_slot + 1;
                    }
                }
                // Of the last block, the k16 steps that hold rows.
                if (last_steps != 0) {
                    const int slot_2 = read_slot;
                    mbarrier_wait(stage_full + slot_2 * 8, read_parity);
                    read_parity = read_slot == 6 ? 1 - read_parity : read_parity;
                    read_slot = read_slot == 6 ? 0 : read_slot + 1;
                    #pragma unroll 1
                    for (int step = 0; step < last_steps; ++step) {
                        wgmma_fence();
                        {
                            const uint64 from_b = wgmma_advance(b_operand, slot_2 * 1024 + step * 128);
                            const uint64 from_a = wgmma_advance(a_operand, slot_2 * 512 + step * 128);
                            wgmma_m64n128k16_amn_bmn(sums[0], from_a, from_b, true);
                        }
                        wgmma_commit();
                    }
                }
                named_barrier_pass(5, 256);
                wgmma_wait<0>();
                wgmma_release(sums[0]);
                if (whole_blocks != 0) {
                    __syncwarp();
                    if (elect_one()) {
                        mbarrier_arrive(stage_empty + free_slot * 8);
                    }
                    __syncwarp();
                    free_slot = free_slot == 6 ? 0 : free_slot + 1;
                }
                if (last_steps != 0) {
                    __syncwarp();
                    if (elect_one()) {
                        mbarrier_arrive(stage_empty + free_slot * 8);
                    }
                    __syncwarp();
                    free_slot = free_slot == 6 ? 0 : free_slot + 1;
                }
                if (cluster_rank() == 0) {
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            mbarrier_arrive_expect(part_full, 8192);
                        }
                        __syncwarp();
                    }
                    mbarrier_wait(part_full, part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        add_sums(parts + (j * 128 + thread % 128) * 16, sums[0][j]);
                    }
                    __syncwarp();
                    if (lane < 1) {
                        mbarrier_arrive_remote(part_free, lane + 1);
                    }
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            mbarrier_arrive_expect(part_full + 1 * 8, 8192);
                        }
                        __syncwarp();
                    }
                    mbarrier_wait(part_full + 1 * 8, part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        add_sums(parts + 1 * 8192 + (j * 128 + thread % 128) * 16, sums[0][j + 4]);
                    }
                    __syncwarp();
                    if (lane < 1) {
                        mbarrier_arrive_remote(part_free + 1 * 8, lane + 1);
                    }
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            mbarrier_arrive_expect(part_full, 8192);
                        }
                        __syncwarp();
                    }
                    mbarrier_wait(part_full, 1 - part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        add_sums(parts + (j * 128 + thread % 128) * 16, sums[0][j + 8]);
                    }
                    __syncwarp();
                    if (lane < 1) {
                        mbarrier_arrive_remote(part_free, lane + 1);
                    }
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            mbarrier_arrive_expect(part_full + 1 * 8, 8192);
                        }
                        __syncwarp();
                    }
                    mbarrier_wait(part_full + 1 * 8, 1 - part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        add_sums(parts + 1 * 8192 + (j * 128 + thread % 128) * 16, sums[0][j + 12]);
                    }
                    __syncwarp();
                    if (lane < 1) {
                        mbarrier_arrive_remote(part_free + 1 * 8, lane + 1);
                    }
                    // The buffer is free once its last store has read it.
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            tma_wait_reads<0>();
                        }
                        __syncwarp();
                    }
                    named_barrier_meet(1, 128);
                    {
                        const int row_of_warp = warp % 4 * 16;
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            #pragma unroll
                            for (int half = 0; half < 2; ++half) {
                                const float x0 = sums[0][j][2 * half];
                                const float x1 = sums[0][j][2 * half + 1];
                                store_shared(d_panels + d_panels_piece(row_of_warp + half * 8 + lane / 4, j * 2 + lane % 4 / 2) + lane % 2 * 8, x0, x1);
                            }
                        }
                    }
                    fence_proxy_async();
                    named_barrier_meet(1, 128);
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            if (accumulate) {
                                tma_add(d_panels, d, tile_col, tile_row, group);
                            } else {
                                tma_store(d_panels, d, tile_col, tile_row, group);
                            }
                            tma_commit();
                        }
                        __syncwarp();
                    }
                    // The buffer is free once its last store has read it.
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            tma_wait_reads<0>();
                        }
                        __syncwarp();
                    }
                    named_barrier_meet(1, 128);
                    {
                        const int row_of_warp = warp % 4 * 16;
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            #pragma unroll
                            for (int half = 0; half < 2; ++half) {
                                const float x0 = sums[0][j + 4][2 * half];
                                const float x1 = sums[0][j + 4][2 * half + 1];
                                store_shared(d_panels + d_panels_piece(row_of_warp + half * 8 + lane / 4, j * 2 + lane % 4 / 2) + lane % 2 * 8, x0, x1);
                            }
                        }
                    }
                    fence_proxy_async();
                    named_barrier_meet(1, 128);
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            if (accumulate) {
                                tma_add(d_panels, d, tile_col + 32, tile_row, group);
                            } else {
                                tma_store(d_panels, d, tile_col + 32, tile_row, group);
                            }
                            tma_commit();
                        }
                        __syncwarp();
                    }
                    // The buffer is free once its last store has read it.
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            tma_wait_reads<0>();
                        }
                        __syncwarp();
                    }
                    named_barrier_meet(1, 128);
                    {
                        const int row_of_warp = warp % 4 * 16;
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            #pragma unroll
                            for (int half = 0; half < 2; ++half) {
                                const float x0 = sums[0][j + 8][2 * half];
                                const float x1 = sums[0][j + 8][2 * half + 1];
                                store_shared(d_panels + d_panels_piece(row_of_warp + half * 8 + lane / 4, j * 2 + lane % 4 / 2) + lane % 2 * 8, x0, x1);
                            }
                        }
                    }
                    fence_proxy_async();
                    named_barrier_meet(1, 128);
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            if (accumulate) {
                                tma_add(d_panels, d, tile_col + 64, tile_row, group);
                            } else {
                                tma_store(d_panels, d, tile_col + 64, tile_row, group);
                            }
                            tma_commit();
                        }
                        __syncwarp();
                    }
                    // The buffer is free once its last store has read it.
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            tma_wait_reads<0>();
                        }
                        __syncwarp();
                    }
                    named_barrier_meet(1, 128);
                    {
                        const int row_of_warp = warp % 4 * 16;
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            #pragma unroll
                            for (int half = 0; half < 2; ++half) {
                                const float x0 = sums[0][j + 12][2 * half];
                                const float x1 = sums[0][j + 12][2 * half + 1];
                                store_shared(d_panels + d_panels_piece(row_of_warp + half * 8 + lane / 4, j * 2 + lane % 4 / 2) + lane % 2 * 8, x0, x1);
                            }
                        }
                    }
                    fence_proxy_async();
                    named_barrier_meet(1, 128);
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            if (accumulate) {
                                tma_add(d_panels, d, tile_col + 96, tile_row, group);
                            } else {
                                tma_store(d_panels, d, tile_col + 96, tile_row, group);
                            }
                            tma_commit();
                        }
                        __syncwarp();
                    }
                } else {
                    // Free once what was sent there last has been added.
                    mbarrier_wait(part_free, 1 - part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        send_sums(parts + (cluster_rank() - 1) * 8192 + (j * 128 + thread % 128) * 16, part_full, 0, sums[0][j]);
                    }
                    // Free once what was sent there last has been added.
                    mbarrier_wait(part_free + 1 * 8, 1 - part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        send_sums(parts + (1 + cluster_rank() - 1) * 8192 + (j * 128 + thread % 128) * 16, part_full + 1 * 8, 0, sums[0][j + 4]);
                    }
                    // Free once what was sent there last has been added.
                    mbarrier_wait(part_free, part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        send_sums(parts + (cluster_rank() - 1) * 8192 + (j * 128 + thread % 128) * 16, part_full, 0, sums[0][j + 8]);
                    }
                    // Free once what was sent there last has been added.
                    mbarrier_wait(part_free + 1 * 8, part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        send_sums(parts + (1 + cluster_rank() - 1) * 8192 + (j * 128 + thread % 128) * 16, part_full + 1 * 8, 0, sums[0][j + 12]);
                    }
                }
            } else {
                const int beyond = read_slot + ceil_div(part_length, 64);
                read_parity = (read_parity + beyond / 7) % 2;
                read_slot = beyond % 7;
                free_slot = read_slot;
            }
            next = 1 - next;
        }
        if (warp % 4 == 0) {
            __syncwarp();
            if (elect_one()) {
                tma_wait_reads<0>();
            }
            __syncwarp();
        }
        if (cluster_rank() != 0) {
            mbarrier_wait(part_free + 1 * 8, 1 - part_parity);
        }
    }
    // consumer 1: warps 4 to 7
    else if (warp >= 4 && warp < 8) {
        grow_registers<232>();
        int read_slot = 0;
        int read_parity = 0;
        int free_slot = 0;
        int part_parity = 0;
        int next = 0;
        // The other's turn to multiply ends before it ever began.
        named_barrier_pass(4, 256);
        int read_slot_2 = 0;
        int read_parity_2 = 0;
        int free_slot_2 = 0;
        while (true) {
            const int slot = read_slot_2;
            mbarrier_wait(tile_full + slot * 8, read_parity_2);
            read_parity_2 = read_slot_2 == 3 ? 1 - read_parity_2 : read_parity_2;
            read_slot_2 = read_slot_2 == 3 ? 0 : read_slot_2 + 1;
            const int group = read_word(tile_words + slot * 5 * 16);
            const int group_start = read_word(tile_words + (slot * 5 + 1) * 16);
            const int group_rows = read_word(tile_words + (slot * 5 + 2) * 16);
            const int tile_row = read_word(tile_words + (slot * 5 + 3) * 16);
            const int tile_col = read_word(tile_words + (slot * 5 + 4) * 16);
            __syncwarp();
            if (elect_one()) {
                mbarrier_arrive(tile_empty + free_slot_2 * 8);
            }
            __syncwarp();
            free_slot_2 = free_slot_2 == 3 ? 0 : free_slot_2 + 1;
            if (group == -1) break;
            const int part = ceil_div(group_rows, 128) * 64;
            const int part_start = cluster_rank() * part;
            const int part_length = max_of(min_of(group_rows - part_start, part), 0);
            if (next == 1) {
                #pragma unroll
                for (int i = 0; i < 1; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 16; ++j) {
                        sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0.0f;
                    }
                }
                named_barrier_meet(5, 256);
                const int whole_blocks = part_length / 64;
                const int last_steps = ceil_div(part_length - whole_blocks * 64, 16);
                #pragma unroll 1
                for (int block = 0; block < whole_blocks; ++block) {
                    const int slot_2 = read_slot;
                    mbarrier_wait(stage_full + slot_2 * 8, read_parity);
                    read_parity = read_slot == 6 ? 1 - read_parity : read_parity;
                    read_slot = read_slot == 6 ? 0 : read_slot + 1;
                    wgmma_fence();
                    #pragma unroll
                    for (int step = 0; step < 4; ++step) {
                        {
                            const uint64 from_b = wgmma_advance(b_operand, slot_2 * 1024 + step * 128);
                            const uint64 from_a = wgmma_advance(a_operand, slot_2 * 512 + step * 128);
                            wgmma_m64n128k16_amn_bmn(sums[0], from_a, from_b, true);
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
                        free_slot = free_slot == 6 ? 0 : free_slot + 1;
                    }
                }
                // Of the last block, the k16 steps that hold rows.
                if (last_steps != 0) {
                    const int slot_2 = read_slot;
                    mbarrier_wait(stage_full + slot_2 * 8, read_parity);
                    read_parity = read_slot == 6 ? 1 - read_parity : read_parity;
                    read_slot = read_slot == 6 ? 0 : read_slot + 1;
                    #pragma unroll 1
                    for (int step = 0; step < last_steps; ++step) {
                        wgmma_fence();
                        {
                            const uint64 from_b = wgmma_advance(b_operand, slot_2 * 1024 + step * 128);
                            const uint64 from_a = wgmma_advance(a_operand, slot_2 * 512 + step * 128);
                            wgmma_m64n128k16_amn_bmn(sums[0], from_a, from_b, true);
                        }
                        wgmma_commit();
                    }
                }
                named_barrier_pass(4, 256);
                wgmma_wait<0>();
                wgmma_release(sums[0]);
                if (whole_blocks != 0) {
                    __syncwarp();
                    if (elect_one()) {
                        mbarrier_arrive(stage_empty + free_slot * 8);
                    }
                    __syncwarp();
                    free_slot = free_slot == 6 ? 0 : free_slot + 1;
                }
                if (last_steps != 0) {
                    __syncwarp();
                    if (elect_one()) {
                        mbarrier_arrive(stage_empty + free_slot * 8);
                    }
                    __syncwarp();
                    free_slot = free_slot == 6 ? 0 : free_slot + 1;
                }
                if (cluster_rank() == 0) {
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            mbarrier_arrive_expect(part_full + 2 * 8, 8192);
                        }
                        __syncwarp();
                    }
                    mbarrier_wait(part_full + 2 * 8, part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        add_sums(parts + 2 * 8192 + (j * 128 + thread % 128) * 16, sums[0][j]);
                    }
                    __syncwarp();
                    if (lane < 1) {
                        mbarrier_arrive_remote(part_free + 2 * 8, lane + 1);
                    }
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            mbarrier_arrive_expect(part_full + 3 * 8, 8192);
                        }
                        __syncwarp();
                    }
                    mbarrier_wait(part_full + 3 * 8, part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        add_sums(parts + 3 * 8192 + (j * 128 + thread % 128) * 16, sums[0][j + 4]);
                    }
                    __syncwarp();
                    if (lane < 1) {
                        mbarrier_arrive_remote(part_free + 3 * 8, lane + 1);
                    }
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            mbarrier_arrive_expect(part_full + 2 * 8, 8192);
                        }
                        __syncwarp();
                    }
                    mbarrier_wait(part_full + 2 * 8, 1 - part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        add_sums(parts + 2 * 8192 + (j * 128 + thread % 128) * 16, sums[0][j + 8]);
                    }
                    __syncwarp();
                    if (lane < 1) {
                        mbarrier_arrive_remote(part_free + 2 * 8, lane + 1);
                    }
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            mbarrier_arrive_expect(part_full + 3 * 8, 8192);
                        }
                        __syncwarp();
                    }
                    mbarrier_wait(part_full + 3 * 8, 1 - part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        add_sums(parts + 3 * 8192 + (j * 128 + thread % 128) * 16, sums[0][j + 12]);
                    }
                    __syncwarp();
                    if (lane < 1) {
                        mbarrier_arrive_remote(part_free + 3 * 8, lane + 1);
                    }
                    // The buffer is free once its last store has read it.
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            tma_wait_reads<0>();
                        }
                        __syncwarp();
                    }
                    named_barrier_meet(2, 128);
                    {
                        const int row_of_warp = warp % 4 * 16;
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            #pragma unroll
                            for (int half = 0; half < 2; ++half) {
                                const float x0 = sums[0][j][2 * half];
                                const float x1 = sums[0][j][2 * half + 1];
                                store_shared(d_panels + 1 * 8192 + d_panels_piece(row_of_warp + half * 8 + lane / 4, j * 2 + lane % 4 / 2) + lane % 2 * 8, x0, x1);
                            }
                        }
                    }
                    fence_proxy_async();
                    named_barrier_meet(2, 128);
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            if (accumulate) {
                                tma_add(d_panels + 1 * 8192, d, tile_col, tile_row, group);
                            } else {
                                tma_store(d_panels + 1 * 8192, d, tile_col, tile_row, group);
                            }
                            tma_commit();
                        }
                        __syncwarp();
                    }
                    // The buffer is free once its last store has read it.
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            tma_wait_reads<0>();
                        }
                        __syncwarp();
                    }
                    named_barrier_meet(2, 128);
                    {
                        const int row_of_warp = warp % 4 * 16;
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            #pragma unroll
                            for (int half = 0; half < 2; ++half) {
                                const float x0 = sums[0][j + 4][2 * half];
                                const float x1 = sums[0][j + 4][2 * half + 1];
                                store_shared(d_panels + 1 * 8192 + d_panels_piece(row_of_warp + half * 8 + lane / 4, j * 2 + lane % 4 / 2) + lane % 2 * 8, x0, x1);
                            }
                        }
                    }
                    fence_proxy_async();
                    named_barrier_meet(2, 128);
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            if (accumulate) {
                                tma_add(d_panels + 1 * 8192, d, tile_col + 32, tile_row, group);
                            } else {
                                tma_store(d_panels + 1 * 8192, d, tile_col + 32, tile_row, group);
                            }
                            tma_commit();
                        }
                        __syncwarp();
                    }
                    // The buffer is free once its last store has read it.
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            tma_wait_reads<0>();
                        }
                        __syncwarp();
                    }
                    named_barrier_meet(2, 128);
                    {
                        const int row_of_warp = warp % 4 * 16;
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            #pragma unroll
                            for (int half = 0; half < 2; ++half) {
                                const float x0 = sums[0][j + 8][2 * half];
                                const float x1 = sums[0][j + 8][2 * half + 1];
                                store_shared(d_panels + 1 * 8192 + d_panels_piece(row_of_warp + half * 8 + lane / 4, j * 2 + lane % 4 / 2) + lane % 2 * 8, x0, x1);
                            }
                        }
                    }
                    fence_proxy_async();
                    named_barrier_meet(2, 128);
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            if (accumulate) {
                                tma_add(d_panels + 1 * 8192, d, tile_col + 64, tile_row, group);
                            } else {
                                tma_store(d_panels + 1 * 8192, d, tile_col + 64, tile_row, group);
                            }
                            tma_commit();
                        }
                        __syncwarp();
                    }
                    // The buffer is free once its last store has read it.
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            tma_wait_reads<0>();
                        }
                        __syncwarp();
                    }
                    named_barrier_meet(2, 128);
                    {
                        const int row_of_warp = warp % 4 * 16;
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            #pragma unroll
                            for (int half = 0; half < 2; ++half) {
                                const float x0 = sums[0][j + 12][2 * half];
                                const float x1 = sums[0][j + 12][2 * half + 1];
                                store_shared(d_panels + 1 * 8192 + d_panels_piece(row_of_warp + half * 8 + lane / 4, j * 2 + lane % 4 / 2) + lane % 2 * 8, x0, x1);
                            }
                        }
                    }
                    fence_proxy_async();
                    named_barrier_meet(2, 128);
                    if (warp % 4 == 0) {
                        __syncwarp();
                        if (elect_one()) {
                            if (accumulate) {
                                tma_add(d_panels + 1 * 8192, d, tile_col + 96, tile_row, group);
                            } else {
                                tma_store(d_panels + 1 * 8192, d, tile_col + 96, tile_row, group);
                            }
                            tma_commit();
                        }
                        __syncwarp();
                    }
                } else {
                    // Free once what was sent there last has been added.
                    mbarrier_wait(part_free + 2 * 8, 1 - part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        send_sums(parts + (2 + cluster_rank() - 1) * 8192 + (j * 128 + thread % 128) * 16, part_full + 2 * 8, 0, sums[0][j]);
                    }
                    // Free once what was sent there last has been added.
                    mbarrier_wait(part_free + 3 * 8, 1 - part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        send_sums(parts + (3 + cluster_rank() - 1) * 8192 + (j * 128 + thread % 128) * 16, part_full + 3 * 8, 0, sums[0][j + 4]);
                    }
                    // Free once what was sent there last has been added.
                    mbarrier_wait(part_free + 2 * 8, part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        send_sums(parts + (2 + cluster_rank() - 1) * 8192 + (j * 128 + thread % 128) * 16, part_full + 2 * 8, 0, sums[0][j + 8]);
                    }
                    // Free once what was sent there last has been added.
                    mbarrier_wait(part_free + 3 * 8, part_parity);
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        send_sums(parts + (3 + cluster_rank() - 1) * 8192 + (j * 128 + thread % 128) * 16, part_full + 3 * 8, 0, sums[0][j + 12]);
                    }
                }
            } else {
                const int beyond = read_slot + ceil_div(part_length, 64);
                read_parity = (read_parity + beyond / 7) % 2;
                read_slot = beyond % 7;
                free_slot = read_slot;
            }
            next = 1 - next;
        }
        if (warp % 4 == 0) {
            __syncwarp();
            if (elect_one()) {
                tma_wait_reads<0>();
            }
            __syncwarp();
        }
        if (cluster_rank() != 0) {
            mbarrier_wait(part_free + 3 * 8, 1 - part_parity);
        }
    }
    // producers: warps 8 to 11
    else if (warp >= 8) {
        shrink_registers<40>();
        // finder: warp 8
        if (warp == 8) {
            int fill_slot = 0;
            int fill_parity = 1;
            // The window: 32 consecutive groups, one a lane.
            int first_group = -32;
            int start = 0;
            int end = 0;
            int tiles_end = 0;
            int tile = cluster_index();
            while (true) {
                while (true) {
                    const uint32 past = __ballot_sync(ALL_LANES, tile < tiles_end);
                    if (past != 0u || group_count < first_group + 32) break;
                    first_group = first_group + 32;
                    const int group_of_lane = first_group + lane;
                    const int64 entry = group_of_lane < group_count ? load_index(groups, group_of_lane, groups_are_i64) : 0LL;
                    const int clipped = int(min_of(max_of(entry, 0LL), int64(reduction)));
                    // Ends become running maxima, sizes a running sum; both are clipped to the token matrix.
                    int running = clipped;
                    const int below = __shfl_up_sync(ALL_LANES, running, 1);
                    running = lane >= 1 ? (groups_are_ends ? max_of(running, below) : running + min_of(below, reduction - running)) : running;
                    const int below_2 = __shfl_up_sync(ALL_LANES, running, 2);
                    running = lane >= 2 ? (groups_are_ends ? max_of(running, below_2) : running + min_of(below_2, reduction - running)) : running;
                    const int below_3 = __shfl_up_sync(ALL_LANES, running, 4);
                    running = lane >= 4 ? (groups_are_ends ? max_of(running, below_3) : running + min_of(below_3, reduction - running)) : running;
                    const int below_4 = __shfl_up_sync(ALL_LANES, running, 8);
                    running = lane >= 8 ? (groups_are_ends ? max_of(running, below_4) : running + min_of(below_4, reduction - running)) : running;
                    const int below_5 = __shfl_up_sync(ALL_LANES, running, 16);
                    running = lane >= 16 ? (groups_are_ends ? max_of(running, below_5) : running + min_of(below_5, reduction - running)) : running;
                    const int rows_before = __shfl_sync(ALL_LANES, end, 31);
                    const int end_of_lane = groups_are_ends ? max_of(rows_before, running) : rows_before + min_of(running, reduction - rows_before);
                    const int end_below = __shfl_up_sync(ALL_LANES, end_of_lane, 1);
                    start = lane == 0 ? rows_before : end_below;
                    end = end_of_lane;
                    // Merged, there is one group: lane 0 of the last window has all rows.
                    const int rows_through = __shfl_sync(ALL_LANES, end, 31);
                    if (merge_groups) {
                        start = 0;
                        end = rows_through;
                    }
                    const int tiles_of_lane = (merge_groups ? lane == 0 && group_count < first_group + 32 : first_group + lane < group_count) && !(accumulate && start == end) ? row_tiles_of_each * col_tiles : 0;
                    int tiles_running = tiles_of_lane;
                    const int below_6 = __shfl_up_sync(ALL_LANES, tiles_running, 1);
                    tiles_running = lane >= 1 ? tiles_running + below_6 : tiles_running;
                    const int below_7 = __shfl_up_sync(ALL_LANES, tiles_running, 2);
                    tiles_running = lane >= 2 ? tiles_running + below_7 : tiles_running;
                    const int below_8 = __shfl_up_sync(ALL_LANES, tiles_running, 4);
                    tiles_running = lane >= 4 ? tiles_running + below_8 : tiles_running;
                    const int below_9 = __shfl_up_sync(ALL_LANES, tiles_running, 8);
                    tiles_running = lane >= 8 ? tiles_running + below_9 : tiles_running;
                    const int below_10 = __shfl_up_sync(ALL_LANES, tiles_running, 16);
                    tiles_running = lane >= 16 ? tiles_running + below_10 : tiles_running;
                    const int tiles_before = __shfl_sync(ALL_LANES, tiles_end, 31);
                    tiles_end = tiles_before + tiles_running;
                }
                // The first lane whose tiles end past this one has its group. Without one, no tile is left.
                const uint32 holders = __ballot_sync(ALL_LANES, tile < tiles_end);
                if (holders == 0u) break;
                const int holder = first_lane(holders);
                const int start_of_group = __shfl_sync(ALL_LANES, start, holder);
                const int end_of_group = __shfl_sync(ALL_LANES, end, holder);
                const int tiles_end_of_group = __shfl_sync(ALL_LANES, tiles_end, holder);
                const int group = merge_groups ? 0 : first_group + holder;
                const int group_start = start_of_group;
                const int group_rows = end_of_group - start_of_group;
                const int row_tiles = row_tiles_of_each;
                // Bands of row tiles, column by column: neighbours in time share operands in L2.
                const int tile_in_group = tile - (tiles_end_of_group - row_tiles * col_tiles);
                const int band = tile_in_group / (col_tiles * 16);
                const int tile_in_band = tile_in_group - band * col_tiles * 16;
                const int band_rows = min_of(row_tiles - band * 16, 16);
                const int tile_row = (band * 16 + tile_in_band % band_rows) * 64;
                const int tile_col = tile_in_band / band_rows * 128;
                mbarrier_wait(tile_empty + fill_slot * 8, fill_parity);
                __syncwarp();
                if (elect_one()) {
                    write_word(tile_words + fill_slot * 5 * 16, group);
                    write_word(tile_words + (fill_slot * 5 + 1) * 16, group_start);
                    write_word(tile_words + (fill_slot * 5 + 2) * 16, group_rows);
                    write_word(tile_words + (fill_slot * 5 + 3) * 16, tile_row);
                    write_word(tile_words + (fill_slot * 5 + 4) * 16, tile_col);
                    mbarrier_arrive(tile_full + fill_slot * 8);
                }
                __syncwarp();
                fill_parity = fill_slot == 3 ? 1 - fill_parity : fill_parity;
                fill_slot = fill_slot == 3 ? 0 : fill_slot + 1;
                tile = tile + cluster_count();
            }
            mbarrier_wait(tile_empty + fill_slot * 8, fill_parity);
            __syncwarp();
            if (elect_one()) {
                write_word(tile_words + fill_slot * 5 * 16, -1);
                write_word(tile_words + (fill_slot * 5 + 1) * 16, 0);
                write_word(tile_words + (fill_slot * 5 + 2) * 16, 0);
                write_word(tile_words + (fill_slot * 5 + 3) * 16, 0);
                write_word(tile_words + (fill_slot * 5 + 4) * 16, 0);
                mbarrier_arrive(tile_full + fill_slot * 8);
            }
            __syncwarp();
            fill_parity = fill_slot == 3 ? 1 - fill_parity : fill_parity;
            fill_slot = fill_slot == 3 ? 0 : fill_slot + 1;
        }
        // loader: warp 9
        else if (warp == 9) {
            __syncwarp();
            if (elect_one()) {
                prefetch_tensor_map(a);
                prefetch_tensor_map(b);
                prefetch_tensor_map(d);
            }
            __syncwarp();
            int fill_slot = 0;
            int fill_parity = 1;
            int read_slot = 0;
            int read_parity = 0;
            int free_slot = 0;
            while (true) {
                const int slot = read_slot;
                mbarrier_wait(tile_full + slot * 8, read_parity);
                read_parity = read_slot == 3 ? 1 - read_parity : read_parity;
                read_slot = read_slot == 3 ? 0 : read_slot + 1;
                const int group = read_word(tile_words + slot * 5 * 16);
                const int group_start = read_word(tile_words + (slot * 5 + 1) * 16);
                const int group_rows = read_word(tile_words + (slot * 5 + 2) * 16);
                const int tile_row = read_word(tile_words + (slot * 5 + 3) * 16);
                const int tile_col = read_word(tile_words + (slot * 5 + 4) * 16);
                __syncwarp();
                if (elect_one()) {
                    mbarrier_arrive(tile_empty + free_slot * 8);
                }
                __syncwarp();
                free_slot = free_slot == 3 ? 0 : free_slot + 1;
                if (group == -1) break;
                const int part = ceil_div(group_rows, 128) * 64;
                const int part_start = cluster_rank() * part;
                const int part_length = max_of(min_of(group_rows - part_start, part), 0);
                const int blocks = ceil_div(part_length, 64);
                #pragma unroll 1
                for (int block = 0; block < blocks; ++block) {
                    mbarrier_wait(stage_empty + fill_slot * 8, fill_parity);
                    __syncwarp();
                    if (elect_one()) {
                        mbarrier_arrive_expect(stage_full + fill_slot * 8, 24576);
                        tma_load(a_tiles + fill_slot * 8192, a, stage_full + fill_slot * 8, tile_row, 1073741824 - (group_rows - (part_start + block * 64)), group_start + group_rows, 1073741824);
                        #pragma unroll
                        for (int i = 0; i < 2; ++i) {
                            tma_load(b_tiles + fill_slot * 16384 + i * 8192, b, stage_full + fill_slot * 8, tile_col + i * 64, 1073741824 - (group_rows - (part_start + block * 64)), group_start + group_rows, 1073741824);
                        }
                    }
                    __syncwarp();
                    fill_parity = fill_slot == 6 ? 1 - fill_parity : fill_parity;
                    fill_slot = fill_slot == 6 ? 0 : fill_slot + 1;
                }
            }
        }
    }
}
