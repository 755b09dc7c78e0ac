// ggemm_reduction_ak_bk_e4m3_f32_f32_sm90a_192x128x128_w12x1_s4_cooperative_tma_dynamic_block_promoted
//
// d[g] = a[blocks of g] · b[blocks of g]ᵀ, with a [m, blocks of 128 rows] and b [n, blocks of 128 rows]
// 512 threads a CTA, 223720 bytes of shared memory, rows aligned to 16 bytes.
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

// ---- scales in shared memory: copied behind the threads' backs ----

// Becomes 0 where it does not exist, and is not read.
__device__ __forceinline__ void copy_scale(uint32 to, const float* from, bool exists) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(exists ? 4 : 0) : "memory");
}

// Those of four blocks that follow each other.
__device__ __forceinline__ void copy_four_scales(uint32 to, const float* from, bool exist) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(exist ? 16 : 0) : "memory");
}

// Whether scales can be copied by four: so many blocks exist, follow each other and lie at multiples of 16 bytes.
__device__ __forceinline__ bool are_fours(const float* from, int64 stride, int64 block_stride, int blocks) {
    return blocks >= 4 && block_stride == 1 && stride % 4 == 0 && reinterpret_cast<uint64>(from) % 16 == 0;
}

// The thread arrives once all copies that it has asked for have landed.
__device__ __forceinline__ void mbarrier_arrive_when_copied(uint32 barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

__device__ __forceinline__ float read_scale(uint32 from) {
    float scale;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(scale) : "r"(from) : "memory");
    return scale;
}

// Those of two neighbouring columns.
__device__ __forceinline__ void read_scale_pair(float (&to)[2], uint32 from) {
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(to[0]), "=f"(to[1]) : "r"(from) : "memory");
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

// d[64, 128] (+)= a[64, 32] · b[128, 32]ᵀ in e4m3, summed in f32; `keep` adds to what d holds.
__device__ __forceinline__ void wgmma_m64n128k32_ak_bk(float (&d)[16][4], uint64 a, uint64 b, bool keep) {
    asm volatile("{\n"
                 ".reg .pred keep;\n"
                 "setp.ne.b32 keep, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
                 "}, %64, %65, keep, 1, 1;\n"
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

// Adds to a word and takes what was there.
__device__ __forceinline__ int fetch_add_ordered_gpu(int* word, int amount) {
    int before;
    asm volatile("atom.acq_rel.gpu.global.add.s32 %0, [%1], %2;"
                 : "=r"(before)
                 : "l"(word), "r"(amount)
                 : "memory");
    return before;
}

// Adds to a word and takes what was there.
__device__ __forceinline__ int fetch_add_relaxed_gpu(int* word, int amount) {
    int before;
    asm volatile("atom.relaxed.gpu.global.add.s32 %0, [%1], %2;"
                 : "=r"(before)
                 : "l"(word), "r"(amount)
                 : "memory");
    return before;
}

extern "C" __global__ void __launch_bounds__(512, 1)
ggemm_reduction_ak_bk_e4m3_f32_f32_sm90a_192x128x128_w12x1_s4_cooperative_tma_dynamic_block_promoted(
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
    const bool accumulate,
    const int64 a_scale_reduction_stride,
    const int64 b_scale_reduction_stride,
    const f32* __restrict__ a_scales,
    const f32* __restrict__ b_scales,
    int* __restrict__ counter)
{
    const int lane = int(threadIdx.x) % 32;
    const int warp = warp_index();
    const int warpgroup = warp / 4;

    extern __shared__ __align__(1024) unsigned char shared_memory[];
    const uint32 a_tiles = shared_address(shared_memory);  // 4 x 24576 bytes
    const uint32 b_tiles = shared_address(shared_memory) + 98304;  // 4 x 16384 bytes
    const uint32 d_panels = shared_address(shared_memory) + 163840;  // 6 x 8192 bytes
    const uint32 a_scale_tiles = shared_address(shared_memory) + 212992;  // 2 x 3072 bytes
    const uint32 b_scale_tiles = shared_address(shared_memory) + 219136;  // 2 x 2048 bytes
    const uint32 tile_words = shared_address(shared_memory) + 223232;  // 20 x 16 bytes
    const uint32 stage_full = shared_address(shared_memory) + 223552;  // 4 barriers of 1 arrivals
    const uint32 stage_empty = shared_address(shared_memory) + 223584;  // 4 barriers of 12 arrivals
    const uint32 scales_full = shared_address(shared_memory) + 223616;  // 2 barriers of 64 arrivals
    const uint32 scales_empty = shared_address(shared_memory) + 223632;  // 2 barriers of 12 arrivals
    const uint32 tile_full = shared_address(shared_memory) + 223648;  // 4 barriers of 1 arrivals
    const uint32 tile_empty = shared_address(shared_memory) + 223680;  // 4 barriers of 14 arrivals
    const uint32 tile_wanted = shared_address(shared_memory) + 223712;  // 1 barriers of 1 arrivals
    const uint64 a_operand = wgmma_descriptor(a_tiles + warpgroup % 3 * 8192, 0x4000004000010000);
    const uint64 b_operand = wgmma_descriptor(b_tiles, 0x4000004000010000);

    float sums[1][16][4];
    float block_sums[1][16][4];
    float row_scales[1][2];
    float col_scales[4][2];

    const int row_tiles_of_each = ceil_div(rows, 192);
    const int col_tiles = ceil_div(cols, 128);
    if (warp == 0) {
        __syncwarp();
        if (elect_one()) {
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(stage_full + i * 8, 1);
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(stage_empty + i * 8, 12);
            }
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                mbarrier_init(scales_full + i * 8, 64);
            }
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                mbarrier_init(scales_empty + i * 8, 12);
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(tile_full + i * 8, 1);
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(tile_empty + i * 8, 14);
            }
            mbarrier_init(tile_wanted, 1);
            mbarrier_init_fence();
        }
        __syncwarp();
    }
    __syncthreads();
    // What is above may overlap the end of the grid before this one, and the next grid's beginning this one's end.
    await_grid();
    launch_dependents();
    // consumers: warps 0 to 11
    if (warp < 12) {
        grow_registers<152>();
        int read_slot = 0;
        int read_parity = 0;
        int free_slot = 0;
        int read_slot_2 = 0;
        int read_parity_2 = 0;
        int free_slot_2 = 0;
        int read_slot_3 = 0;
        int read_parity_3 = 0;
        int free_slot_3 = 0;
        while (true) {
            const int slot = read_slot_3;
            mbarrier_wait(tile_full + slot * 8, read_parity_3);
            read_parity_3 = read_slot_3 == 3 ? 1 - read_parity_3 : read_parity_3;
            read_slot_3 = read_slot_3 == 3 ? 0 : read_slot_3 + 1;
            const int group = read_word(tile_words + slot * 5 * 16);
            const int group_start = read_word(tile_words + (slot * 5 + 1) * 16);
            const int group_rows = read_word(tile_words + (slot * 5 + 2) * 16);
            const int tile_row = read_word(tile_words + (slot * 5 + 3) * 16);
            const int tile_col = read_word(tile_words + (slot * 5 + 4) * 16);
            __syncwarp();
            if (elect_one()) {
                mbarrier_arrive(tile_empty + free_slot_3 * 8);
            }
            __syncwarp();
            free_slot_3 = free_slot_3 == 3 ? 0 : free_slot_3 + 1;
            if (group == -1) break;
            #pragma unroll
            for (int i = 0; i < 1; ++i) {
                #pragma unroll
                for (int j = 0; j < 16; ++j) {
                    sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0.0f;
                }
            }
            const int blocks = ceil_div(group_rows, 128);
            #pragma unroll 1
            for (int batch = 0; batch < ceil_div(blocks, 4); ++batch) {
                const int slot_2 = read_slot_2;
                mbarrier_wait(scales_full + slot_2 * 8, read_parity_2);
                read_parity_2 = read_slot_2 == 1 ? 1 - read_parity_2 : read_parity_2;
                read_slot_2 = read_slot_2 == 1 ? 0 : read_slot_2 + 1;
                const int blocks_of_batch = min_of(blocks - batch * 4, 4);
                #pragma unroll 1
                for (int block = 0; block < blocks_of_batch; ++block) {
                    const int slot_3 = read_slot;
                    mbarrier_wait(stage_full + slot_3 * 8, read_parity);
                    read_parity = read_slot == 3 ? 1 - read_parity : read_parity;
                    read_slot = read_slot == 3 ? 0 : read_slot + 1;
                    wgmma_fence();
                    #pragma unroll
                    for (int step = 0; step < 4; ++step) {
                        {
                            const uint64 from_b = wgmma_advance(b_operand, slot_3 * 1024 + step * 2);
                            const uint64 from_a = wgmma_advance(a_operand, slot_3 * 1536 + step * 2);
                            wgmma_m64n128k32_ak_bk(block_sums[0], from_a, from_b, step != 0);
                        }
                    }
                    wgmma_commit();
                    {
                        const uint32 from = a_scale_tiles + slot_2 * 3072 + block * 768;
                        const int row_of_warp = warp % 4 * 16 + warpgroup % 3 * 64;
                        #pragma unroll
                        for (int i = 0; i < 1; ++i) {
                            #pragma unroll
                            for (int half = 0; half < 2; ++half) {
                                row_scales[i][half] = read_scale(from + (row_of_warp + i * 64 + half * 8 + lane / 4) * 4);
                            }
                        }
                    }
                    {
                        const uint32 from = b_scale_tiles + slot_2 * 2048 + block * 512;
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            read_scale_pair(col_scales[j], from + (j * 8 + lane % 4 * 2) * 4);
                        }
                    }
                    wgmma_wait<0>();
                    wgmma_release(block_sums[0]);
                    __syncwarp();
                    if (elect_one()) {
                        mbarrier_arrive(stage_empty + free_slot * 8);
                    }
                    __syncwarp();
                    free_slot = free_slot == 3 ? 0 : free_slot + 1;
                    #pragma unroll
                    for (int i = 0; i < 1; ++i) {
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            sums[i][j][0] = fmaf(block_sums[i][j][0] * col_scales[j][0], row_scales[i][0], sums[i][j][0]);
                            sums[i][j][1] = fmaf(block_sums[i][j][1] * col_scales[j][1], row_scales[i][0], sums[i][j][1]);
                            sums[i][j][2] = fmaf(block_sums[i][j][2] * col_scales[j][0], row_scales[i][1], sums[i][j][2]);
                            sums[i][j][3] = fmaf(block_sums[i][j][3] * col_scales[j][1], row_scales[i][1], sums[i][j][3]);
                        }
                    }
                    {
                        const uint32 from = b_scale_tiles + slot_2 * 2048 + block * 512 + 128;
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            read_scale_pair(col_scales[j], from + (j * 8 + lane % 4 * 2) * 4);
                        }
                    }
                    #pragma unroll
                    for (int i = 0; i < 1; ++i) {
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            sums[i][j + 4][0] = fmaf(block_sums[i][j + 4][0] * col_scales[j][0], row_scales[i][0], sums[i][j + 4][0]);
                            sums[i][j + 4][1] = fmaf(block_sums[i][j + 4][1] * col_scales[j][1], row_scales[i][0], sums[i][j + 4][1]);
                            sums[i][j + 4][2] = fmaf(block_sums[i][j + 4][2] * col_scales[j][0], row_scales[i][1], sums[i][j + 4][2]);
                            sums[i][j + 4][3] = fmaf(block_sums[i][j + 4][3] * col_scales[j][1], row_scales[i][1], sums[i][j + 4][3]);
                        }
                    }
                    {
                        const uint32 from = b_scale_tiles + slot_2 * 2048 + block * 512 + 256;
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            read_scale_pair(col_scales[j], from + (j * 8 + lane % 4 * 2) * 4);
                        }
                    }
                    #pragma unroll
                    for (int i = 0; i < 1; ++i) {
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            sums[i][j + 8][0] = fmaf(block_sums[i][j + 8][0] * col_scales[j][0], row_scales[i][0], sums[i][j + 8][0]);
                            sums[i][j + 8][1] = fmaf(block_sums[i][j + 8][1] * col_scales[j][1], row_scales[i][0], sums[i][j + 8][1]);
                            sums[i][j + 8][2] = fmaf(block_sums[i][j + 8][2] * col_scales[j][0], row_scales[i][1], sums[i][j + 8][2]);
                            sums[i][j + 8][3] = fmaf(block_sums[i][j + 8][3] * col_scales[j][1], row_scales[i][1], sums[i][j + 8][3]);
                        }
                    }
                    {
                        const uint32 from = b_scale_tiles + slot_2 * 2048 + block * 512 + 384;
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            read_scale_pair(col_scales[j], from + (j * 8 + lane % 4 * 2) * 4);
                        }
                    }
                    #pragma unroll
                    for (int i = 0; i < 1; ++i) {
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            sums[i][j + 12][0] = fmaf(block_sums[i][j + 12][0] * col_scales[j][0], row_scales[i][0], sums[i][j + 12][0]);
                            sums[i][j + 12][1] = fmaf(block_sums[i][j + 12][1] * col_scales[j][1], row_scales[i][0], sums[i][j + 12][1]);
                            sums[i][j + 12][2] = fmaf(block_sums[i][j + 12][2] * col_scales[j][0], row_scales[i][1], sums[i][j + 12][2]);
                            sums[i][j + 12][3] = fmaf(block_sums[i][j + 12][3] * col_scales[j][1], row_scales[i][1], sums[i][j + 12][3]);
                        }
                    }
                }
                __syncwarp();
                if (elect_one()) {
                    mbarrier_arrive(scales_empty + free_slot_2 * 8);
                }
                __syncwarp();
                free_slot_2 = free_slot_2 == 1 ? 0 : free_slot_2 + 1;
            }
            // The buffer is free once its last store has read it.
            if (warp % 4 == 0) {
                __syncwarp();
                if (elect_one()) {
                    tma_wait_reads<1>();
                }
                __syncwarp();
            }
            named_barrier_meet(warpgroup + 1, 128);
            {
                const int row_of_warp = warp % 4 * 16 + warpgroup % 3 * 64 - warpgroup * 64;
                #pragma unroll
                for (int j = 0; j < 4; ++j) {
                    #pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        const float x0 = sums[0][j][2 * half];
                        const float x1 = sums[0][j][2 * half + 1];
                        store_shared(d_panels + warpgroup * 2 * 8192 + d_panels_piece(row_of_warp + half * 8 + lane / 4, j * 2 + lane % 4 / 2) + lane % 2 * 8, x0, x1);
                    }
                }
            }
            fence_proxy_async();
            named_barrier_meet(warpgroup + 1, 128);
            if (warp % 4 == 0) {
                __syncwarp();
                if (elect_one()) {
                    if (accumulate) {
                        tma_add(d_panels + warpgroup * 2 * 8192, d, tile_col, tile_row + warpgroup * 64, group);
                    } else {
                        tma_store(d_panels + warpgroup * 2 * 8192, d, tile_col, tile_row + warpgroup * 64, group);
                    }
                    tma_commit();
                }
                __syncwarp();
            }
            // The buffer is free once its last store has read it.
            if (warp % 4 == 0) {
                __syncwarp();
                if (elect_one()) {
                    tma_wait_reads<1>();
                }
                __syncwarp();
            }
            named_barrier_meet(warpgroup + 1, 128);
            {
                const int row_of_warp = warp % 4 * 16 + warpgroup % 3 * 64 - warpgroup * 64;
                #pragma unroll
                for (int j = 0; j < 4; ++j) {
                    #pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        const float x0 = sums[0][j + 4][2 * half];
                        const float x1 = sums[0][j + 4][2 * half + 1];
                        store_shared(d_panels + (warpgroup * 2 + 1) * 8192 + d_panels_piece(row_of_warp + half * 8 + lane / 4, j * 2 + lane % 4 / 2) + lane % 2 * 8, x0, x1);
                    }
                }
            }
            fence_proxy_async();
            named_barrier_meet(warpgroup + 1, 128);
            if (warp % 4 == 0) {
                __syncwarp();
                if (elect_one()) {
                    if (accumulate) {
                        tma_add(d_panels + (warpgroup * 2 + 1) * 8192, d, tile_col + 32, tile_row + warpgroup * 64, group);
                    } else {
                        tma_store(d_panels + (warpgroup * 2 + 1) * 8192, d, tile_col + 32, tile_row + warpgroup * 64, group);
                    }
                    tma_commit();
                }
                __syncwarp();
            }
            // The buffer is free once its last store has read it.
            if (warp % 4 == 0) {
                __syncwarp();
                if (elect_one()) {
                    tma_wait_reads<1>();
                }
                __syncwarp();
            }
            named_barrier_meet(warpgroup + 1, 128);
            {
                const int row_of_warp = warp % 4 * 16 + warpgroup % 3 * 64 - warpgroup * 64;
                #pragma unroll
                for (int j = 0; j < 4; ++j) {
                    #pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        const float x0 = sums[0][j + 8][2 * half];
                        const float x1 = sums[0][j + 8][2 * half + 1];
                        store_shared(d_panels + warpgroup * 2 * 8192 + d_panels_piece(row_of_warp + half * 8 + lane / 4, j * 2 + lane % 4 / 2) + lane % 2 * 8, x0, x1);
                    }
                }
            }
            fence_proxy_async();
            named_barrier_meet(warpgroup + 1, 128);
            if (warp % 4 == 0) {
                __syncwarp();
                if (elect_one()) {
                    if (accumulate) {
                        tma_add(d_panels + warpgroup * 2 * 8192, d, tile_col + 64, tile_row + warpgroup * 64, group);
                    } else {
                        tma_store(d_panels + warpgroup * 2 * 8192, d, tile_col + 64, tile_row + warpgroup * 64, group);
                    }
                    tma_commit();
                }
                __syncwarp();
            }
            // The buffer is free once its last store has read it.
            if (warp % 4 == 0) {
                __syncwarp();
                if (elect_one()) {
                    tma_wait_reads<1>();
                }
                __syncwarp();
            }
            named_barrier_meet(warpgroup + 1, 128);
            {
                const int row_of_warp = warp % 4 * 16 + warpgroup % 3 * 64 - warpgroup * 64;
                #pragma unroll
                for (int j = 0; j < 4; ++j) {
                    #pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        const float x0 = sums[0][j + 12][2 * half];
                        const float x1 = sums[0][j + 12][2 * half + 1];
                        store_shared(d_panels + (warpgroup * 2 + 1) * 8192 + d_panels_piece(row_of_warp + half * 8 + lane / 4, j * 2 + lane % 4 / 2) + lane % 2 * 8, x0, x1);
                    }
                }
            }
            fence_proxy_async();
            named_barrier_meet(warpgroup + 1, 128);
            if (warp % 4 == 0) {
                __syncwarp();
                if (elect_one()) {
                    if (accumulate) {
                        tma_add(d_panels + (warpgroup * 2 + 1) * 8192, d, tile_col + 96, tile_row + warpgroup * 64, group);
                    } else {
                        tma_store(d_panels + (warpgroup * 2 + 1) * 8192, d, tile_col + 96, tile_row + warpgroup * 64, group);
                    }
                    tma_commit();
                }
                __syncwarp();
            }
        }
        if (warp % 4 == 0) {
            __syncwarp();
            if (elect_one()) {
                tma_wait_reads<0>();
            }
            __syncwarp();
        }
    }
    // producers: warps 12 to 15
    else if (warp >= 12) {
        shrink_registers<40>();
        // finder: warp 12
        if (warp == 12) {
            int fill_slot = 0;
            int fill_parity = 1;
            int wanted_parity = 0;
            // The window: 32 consecutive groups, one a lane.
            int first_group = -32;
            int start = 0;
            int end = 0;
            int tiles_end = 0;
            int tile = int(blockIdx.x);
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
                const int tile_row = (band * 16 + tile_in_band % band_rows) * 192;
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
                mbarrier_wait(tile_wanted, wanted_parity);
                wanted_parity = 1 - wanted_parity;
                const int taken = lane == 0 ? fetch_add_relaxed_gpu(counter + 0, 1) : 0;
                const int number = __shfl_sync(ALL_LANES, taken, 0);
                const int next_tile = number + int(gridDim.x);
                tile = next_tile;
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
            // The last CTA sets the counter back for the next launch.
            const int ended_before = lane == 0 ? fetch_add_ordered_gpu(counter + 1, 1) : 0;
            const int count = lane == 0 && ended_before + 1 == int(gridDim.x) ? fetch_add_ordered_gpu(counter + 0, 0) : 0;
            const int count_again = lane == 0 && ended_before + 1 == int(gridDim.x) ? fetch_add_ordered_gpu(counter + 0, count * -1) : 0;
            const int ended = lane == 0 && ended_before + 1 == int(gridDim.x) ? fetch_add_ordered_gpu(counter + 1, int(gridDim.x) * -1) : 0;
        }
        // loader: warp 13
        else if (warp == 13) {
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
                const int blocks = ceil_div(group_rows, 128);
                const int last_round = max_of(blocks - 4, 0);
                if (blocks == 0) {
                    __syncwarp();
                    if (elect_one()) {
                        mbarrier_arrive(tile_wanted);
                    }
                    __syncwarp();
                }
                #pragma unroll 1
                for (int block = 0; block < blocks; ++block) {
                    if (block == last_round) {
                        __syncwarp();
                        if (elect_one()) {
                            mbarrier_arrive(tile_wanted);
                        }
                        __syncwarp();
                    }
                    mbarrier_wait(stage_empty + fill_slot * 8, fill_parity);
                    __syncwarp();
                    if (elect_one()) {
                        mbarrier_arrive_expect(stage_full + fill_slot * 8, 40960);
                        tma_load(a_tiles + fill_slot * 24576, a, stage_full + fill_slot * 8, (group_start / 128 + group) * 128 + block * 128, tile_row);
                        tma_load(b_tiles + fill_slot * 16384, b, stage_full + fill_slot * 8, (group_start / 128 + group) * 128 + block * 128, tile_col);
                    }
                    __syncwarp();
                    fill_parity = fill_slot == 3 ? 1 - fill_parity : fill_parity;
                    fill_slot = fill_slot == 3 ? 0 : fill_slot + 1;
                }
            }
        }
        // scales: warp 14
        else if (warp == 14) {
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
                const int64 first_of_a_scales = int64(tile_row) + int64(group_start / 128 + group) * a_scale_reduction_stride;
                const int a_scales_left = rows - tile_row;
                const int64 first_of_b_scales = int64(tile_col) + int64(group_start / 128 + group) * b_scale_reduction_stride;
                const int b_scales_left = cols - tile_col;
                const int blocks = ceil_div(group_rows, 128);
                #pragma unroll 1
                for (int batch = 0; batch < ceil_div(blocks, 4); ++batch) {
                    const int first = batch * 4;
                    mbarrier_wait(scales_empty + fill_slot * 8, fill_parity);
                    {
                        const float* const from = a_scales + (first_of_a_scales + int64(first) * a_scale_reduction_stride);
                        const uint32 to = a_scale_tiles + fill_slot * 3072;
                        #pragma unroll
                        for (int i = 0; i < 6; ++i) {
                            const int place = i * 32 + lane;
                            #pragma unroll
                            for (int j = 0; j < 4; ++j) {
                                copy_scale(to + place * 4 + j * 768, from + place + j * a_scale_reduction_stride, place < a_scales_left && j < blocks - first);
                            }
                        }
                        mbarrier_arrive_when_copied(scales_full + fill_slot * 8);
                    }
                    {
                        const float* const from = b_scales + (first_of_b_scales + int64(first) * b_scale_reduction_stride);
                        const uint32 to = b_scale_tiles + fill_slot * 2048;
                        #pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            const int place = i * 32 + lane;
                            #pragma unroll
                            for (int j = 0; j < 4; ++j) {
                                copy_scale(to + place * 4 + j * 512, from + place + j * b_scale_reduction_stride, place < b_scales_left && j < blocks - first);
                            }
                        }
                        mbarrier_arrive_when_copied(scales_full + fill_slot * 8);
                    }
                    fill_parity = fill_slot == 1 ? 1 - fill_parity : fill_parity;
                    fill_slot = fill_slot == 1 ? 0 : fill_slot + 1;
                }
            }
        }
    }
}
