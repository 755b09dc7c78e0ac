// ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x192x64_w4x1_s4_pingpong_tma_dynamic_dthreads
//
// d[rows of g] = a[rows of g] · b[g]ᵀ, with a [rows, k] and b[g] [n, k]
// 384 threads a CTA, 180680 bytes of shared memory, rows aligned to 16 bytes.
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

// ---- rows of 64 elements of 2 bytes, written to where they may start anywhere: two elements a lane ----

// What a lane writes of rows that start at one parity. Two elements are written together where their address is a multiple
// of 4: from the row's first element on or, where that lies at an odd place, from its second on.
struct RowPart {
    char* at;          // the first of the two, in the next row
    uint32 shift;      // of them against the word of the lane: 16 bits or none
    bool pair, last;   // both exist, or the first alone
    bool head;         // the row's first element is no lane's: the last lane, whose pair goes round, writes it
};

// Every second row starts at the same parity.
struct RowParts {
    RowPart of[2];
    int64 step;        // bytes to the row after the next
};

// `left` (any value) elements of a row exist.
template <typename T>
__device__ __forceinline__ RowParts parts_of_rows(T* to, int64 stride, int lane, int left) {
    RowParts parts;
    parts.step = 4 * stride;
    #pragma unroll
    for (int i = 0; i < 2; ++i) {
        T* const row = to + i * stride;
        const int odd = reinterpret_cast<unsigned long long>(row) / 2 % 2, first = 2 * lane + odd;
        parts.of[i] = {reinterpret_cast<char*>(row + first), 16u * odd, first + 1 < min_of(left, 64),
                       first + 1 == min_of(left, 64), odd == 1 && lane == 31 && left > 0};
    }
    return parts;
}

// Writes so many `rows` (any value) of COUNT, an even number. What exists is asked of each store alone: with a branch
// around a row's, rows would not go side by side.
template <int COUNT>
__device__ __forceinline__ void store_rows(RowParts& parts, const uint32 (&words)[COUNT], int rows, int lane) {
    #pragma unroll
    for (int i = 0; i < COUNT; ++i) {
        RowPart& part = parts.of[i % 2];
        const bool exists = i < rows;
        const uint32 next = __shfl_sync(ALL_LANES, words[i], lane + 1);
        const uint32 pair = __funnelshift_r(words[i], next, part.shift);
        if (part.pair & exists) *reinterpret_cast<uint32*>(part.at) = pair;
        if (part.last & exists) *reinterpret_cast<uint16*>(part.at) = static_cast<uint16>(pair);
        if (part.head & exists) *reinterpret_cast<uint16*>(part.at - 126) = static_cast<uint16>(pair >> 16);
        part.at += parts.step;
    }
}

// Byte offset of a 16-byte piece in one of d_panels, each [64, 64]:
// rows of 128 bytes, pieces swizzled by row.
__device__ __forceinline__ uint32 d_panels_piece(uint32 row, uint32 piece) {
    return row * 128 + (piece ^ row) % 8 * 16;
}

// d[64, 192] (+)= a[64, 16] · b[192, 16]ᵀ in bf16, summed in f32; `keep` adds to what d holds.
__device__ __forceinline__ void wgmma_m64n192k16_ak_bk(float (&d)[24][4], uint64 a, uint64 b, bool keep) {
    asm volatile("{\n"
                 ".reg .pred keep;\n"
                 "setp.ne.b32 keep, %98, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
                 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
                 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
                 "}, %96, %97, keep, 1, 1, 0, 0;\n"
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
                   "+f"(d[23][0]), "+f"(d[23][1]), "+f"(d[23][2]), "+f"(d[23][3])
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

extern "C" __global__ void __launch_bounds__(384, 1)
ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x192x64_w4x1_s4_pingpong_tma_dynamic_dthreads(
    const __grid_constant__ TensorMap a,
    const __grid_constant__ TensorMap b,
    bf16* __restrict__ d,
    const void* __restrict__ groups,
    const int group_count,
    const bool groups_are_ends,
    const bool groups_are_i64,
    const int rows,
    const int cols,
    const int reduction,
    const int64 d_row_stride,
    const bool zero_tail,
    int* __restrict__ counter)
{
    const int thread = int(threadIdx.x);
    const int lane = int(threadIdx.x) % 32;
    const int warp = warp_index();

    extern __shared__ __align__(1024) unsigned char shared_memory[];
    const uint32 a_tiles = shared_address(shared_memory);  // 4 x 16384 bytes
    const uint32 b_tiles = shared_address(shared_memory) + 65536;  // 4 x 24576 bytes
    const uint32 d_panels = shared_address(shared_memory) + 163840;  // 2 x 8192 bytes
    const uint32 tile_words = shared_address(shared_memory) + 180224;  // 20 x 16 bytes
    const uint32 stage_full = shared_address(shared_memory) + 180544;  // 4 barriers of 1 arrivals
    const uint32 stage_empty = shared_address(shared_memory) + 180576;  // 4 barriers of 4 arrivals
    const uint32 tile_full = shared_address(shared_memory) + 180608;  // 4 barriers of 1 arrivals
    const uint32 tile_empty = shared_address(shared_memory) + 180640;  // 4 barriers of 9 arrivals
    const uint32 tile_wanted = shared_address(shared_memory) + 180672;  // 1 barriers of 1 arrivals
    const uint64 a_operand = wgmma_descriptor(a_tiles, 0x4000004000010000);
    const uint64 b_operand = wgmma_descriptor(b_tiles, 0x4000004000010000);

    float sums[2][24][4];

    const int col_tiles = ceil_div(cols, 192);
    if (warp == 0) {
        __syncwarp();
        if (elect_one()) {
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(stage_full + i * 8, 1);
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(stage_empty + i * 8, 4);
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(tile_full + i * 8, 1);
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(tile_empty + i * 8, 9);
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
    // consumer 0: warps 0 to 3
    if (warp < 4) {
        grow_registers<240>();
        int read_slot = 0;
        int read_parity = 0;
        int free_slot = 0;
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
            // The tail has no weight: its rows are sums of nothing.
            const int reduction_of_tile = group == group_count ? 0 : reduction;
            if (next == 0) {
                #pragma unroll
                for (int i = 0; i < 2; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 24; ++j) {
                        sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0.0f;
                    }
                }
                named_barrier_meet(4, 256);
                const int blocks = ceil_div(reduction_of_tile, 64);
                #pragma unroll 1
                for (int block = 0; block < blocks; ++block) {
                    const int slot_2 = read_slot;
                    mbarrier_wait(stage_full + slot_2 * 8, read_parity);
                    read_parity = read_slot == 3 ? 1 - read_parity : read_parity;
                    read_slot = read_slot == 3 ? 0 : read_slot + 1;
                    wgmma_fence();
                    #pragma unroll
                    for (int step = 0; step < 4; ++step) {
                        {
                            const uint64 from_b = wgmma_advance(b_operand, slot_2 * 1536 + step * 2);
                            #pragma unroll
                            for (int i = 0; i < 2; ++i) {
                                const uint64 from_a = wgmma_advance(a_operand, slot_2 * 1024 + step * 2 + i * 512);
                                wgmma_m64n192k16_ak_bk(sums[i], from_a, from_b, true);
                            }
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
                        free_slot = free_slot == 3 ? 0 : free_slot + 1;
                    }
                }
                named_barrier_pass(5, 256);
                wgmma_wait<0>();
                wgmma_release(sums[0]);
                wgmma_release(sums[1]);
                if (blocks != 0) {
                    __syncwarp();
                    if (elect_one()) {
                        mbarrier_arrive(stage_empty + free_slot * 8);
                    }
                    __syncwarp();
                    free_slot = free_slot == 3 ? 0 : free_slot + 1;
                }
                const int rows_left = group_rows - tile_row;
                const int cols_left = cols - tile_col;
                const int64 first_row = int64(group_start + tile_row);
                {
                    const int row_of_warp = warp % 4 * 16;
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const uint32 x0 = pack_bf16(sums[0][j * 2][0], sums[0][j * 2][1]);
                        const uint32 x1 = pack_bf16(sums[0][j * 2][2], sums[0][j * 2][3]);
                        const uint32 x2 = pack_bf16(sums[0][j * 2 + 1][0], sums[0][j * 2 + 1][1]);
                        const uint32 x3 = pack_bf16(sums[0][j * 2 + 1][2], sums[0][j * 2 + 1][3]);
                        stmatrix_x4(d_panels + d_panels_piece(row_of_warp + lane % 16, j * 2 + lane / 16), x0, x1, x2, x3);
                    }
                }
                __syncwarp();
                {
                    // The rows that this warp wrote to the panel.
                    const int row = thread % 128 / 32 * 16;
                    const int left = rows_left - row;
                    bf16* const to = d + (first_row * d_row_stride + int64(tile_col));
                    RowParts parts = parts_of_rows(to + row * d_row_stride, d_row_stride, lane, cols_left);
                    #pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        uint32 words[8];
                        #pragma unroll
                        for (int i = 0; i < 8; ++i) {
                            words[i] = read_word(d_panels + d_panels_piece(row + 8 * j + i, lane / 4) + lane % 4 * 4);
                        }
                        store_rows(parts, words, left - 8 * j, lane);
                    }
                }
                // The next panel's sums come where these are read.
                __syncwarp();
                {
                    const int row_of_warp = warp % 4 * 16 + 64 - 64;
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const uint32 x0 = pack_bf16(sums[1][j * 2][0], sums[1][j * 2][1]);
                        const uint32 x1 = pack_bf16(sums[1][j * 2][2], sums[1][j * 2][3]);
                        const uint32 x2 = pack_bf16(sums[1][j * 2 + 1][0], sums[1][j * 2 + 1][1]);
                        const uint32 x3 = pack_bf16(sums[1][j * 2 + 1][2], sums[1][j * 2 + 1][3]);
                        stmatrix_x4(d_panels + d_panels_piece(row_of_warp + lane % 16, j * 2 + lane / 16), x0, x1, x2, x3);
                    }
                }
                __syncwarp();
                {
                    // The rows that this warp wrote to the panel.
                    const int row = thread % 128 / 32 * 16;
                    const int left = rows_left - 64 - row;
                    bf16* const to = d + (first_row * d_row_stride + int64(tile_col) + d_row_stride * 64LL);
                    RowParts parts = parts_of_rows(to + row * d_row_stride, d_row_stride, lane, cols_left);
                    #pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        uint32 words[8];
                        #pragma unroll
                        for (int i = 0; i < 8; ++i) {
                            words[i] = read_word(d_panels + d_panels_piece(row + 8 * j + i, lane / 4) + lane % 4 * 4);
                        }
                        store_rows(parts, words, left - 8 * j, lane);
                    }
                }
                // The next panel's sums come where these are read.
                __syncwarp();
                {
                    const int row_of_warp = warp % 4 * 16;
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const uint32 x0 = pack_bf16(sums[0][j * 2 + 8][0], sums[0][j * 2 + 8][1]);
                        const uint32 x1 = pack_bf16(sums[0][j * 2 + 8][2], sums[0][j * 2 + 8][3]);
                        const uint32 x2 = pack_bf16(sums[0][j * 2 + 9][0], sums[0][j * 2 + 9][1]);
                        const uint32 x3 = pack_bf16(sums[0][j * 2 + 9][2], sums[0][j * 2 + 9][3]);
                        stmatrix_x4(d_panels + d_panels_piece(row_of_warp + lane % 16, j * 2 + lane / 16), x0, x1, x2, x3);
                    }
                }
                __syncwarp();
                {
                    // The rows that this warp wrote to the panel.
                    const int row = thread % 128 / 32 * 16;
                    const int left = rows_left - row;
                    bf16* const to = d + (first_row * d_row_stride + int64(tile_col) + 64LL);
                    RowParts parts = parts_of_rows(to + row * d_row_stride, d_row_stride, lane, cols_left - 64);
                    #pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        uint32 words[8];
                        #pragma unroll
                        for (int i = 0; i < 8; ++i) {
                            words[i] = read_word(d_panels + d_panels_piece(row + 8 * j + i, lane / 4) + lane % 4 * 4);
                        }
                        store_rows(parts, words, left - 8 * j, lane);
                    }
                }
                // The next panel's sums come where these are read.
                __syncwarp();
                {
                    const int row_of_warp = warp % 4 * 16 + 64 - 64;
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const uint32 x0 = pack_bf16(sums[1][j * 2 + 8][0], sums[1][j * 2 + 8][1]);
                        const uint32 x1 = pack_bf16(sums[1][j * 2 + 8][2], sums[1][j * 2 + 8][3]);
                        const uint32 x2 = pack_bf16(sums[1][j * 2 + 9][0], sums[1][j * 2 + 9][1]);
                        const uint32 x3 = pack_bf16(sums[1][j * 2 + 9][2], sums[1][j * 2 + 9][3]);
                        stmatrix_x4(d_panels + d_panels_piece(row_of_warp + lane % 16, j * 2 + lane / 16), x0, x1, x2, x3);
                    }
                }
                __syncwarp();
                {
                    // The rows that this warp wrote to the panel.
                    const int row = thread % 128 / 32 * 16;
                    const int left = rows_left - 64 - row;
                    bf16* const to = d + (first_row * d_row_stride + int64(tile_col) + d_row_stride * 64LL + 64LL);
                    RowParts parts = parts_of_rows(to + row * d_row_stride, d_row_stride, lane, cols_left - 64);
                    #pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        uint32 words[8];
                        #pragma unroll
                        for (int i = 0; i < 8; ++i) {
                            words[i] = read_word(d_panels + d_panels_piece(row + 8 * j + i, lane / 4) + lane % 4 * 4);
                        }
                        store_rows(parts, words, left - 8 * j, lane);
                    }
                }
                // The next panel's sums come where these are read.
                __syncwarp();
                {
                    const int row_of_warp = warp % 4 * 16;
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const uint32 x0 = pack_bf16(sums[0][j * 2 + 16][0], sums[0][j * 2 + 16][1]);
                        const uint32 x1 = pack_bf16(sums[0][j * 2 + 16][2], sums[0][j * 2 + 16][3]);
                        const uint32 x2 = pack_bf16(sums[0][j * 2 + 17][0], sums[0][j * 2 + 17][1]);
                        const uint32 x3 = pack_bf16(sums[0][j * 2 + 17][2], sums[0][j * 2 + 17][3]);
                        stmatrix_x4(d_panels + d_panels_piece(row_of_warp + lane % 16, j * 2 + lane / 16), x0, x1, x2, x3);
                    }
                }
                __syncwarp();
                {
                    // The rows that this warp wrote to the panel.
                    const int row = thread % 128 / 32 * 16;
                    const int left = rows_left - row;
                    bf16* const to = d + (first_row * d_row_stride + int64(tile_col) + 128LL);
                    RowParts parts = parts_of_rows(to + row * d_row_stride, d_row_stride, lane, cols_left - 128);
                    #pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        uint32 words[8];
                        #pragma unroll
                        for (int i = 0; i < 8; ++i) {
                            words[i] = read_word(d_panels + d_panels_piece(row + 8 * j + i, lane / 4) + lane % 4 * 4);
                        }
                        store_rows(parts, words, left - 8 * j, lane);
                    }
                }
                // The next panel's sums come where these are read.
                __syncwarp();
                {
                    const int row_of_warp = warp % 4 * 16 + 64 - 64;
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const uint32 x0 = pack_bf16(sums[1][j * 2 + 16][0], sums[1][j * 2 + 16][1]);
                        const uint32 x1 = pack_bf16(sums[1][j * 2 + 16][2], sums[1][j * 2 + 16][3]);
                        const uint32 x2 = pack_bf16(sums[1][j * 2 + 17][0], sums[1][j * 2 + 17][1]);
                        const uint32 x3 = pack_bf16(sums[1][j * 2 + 17][2], sums[1][j * 2 + 17][3]);
                        stmatrix_x4(d_panels + d_panels_piece(row_of_warp + lane % 16, j * 2 + lane / 16), x0, x1, x2, x3);
                    }
                }
                __syncwarp();
                {
                    // The rows that this warp wrote to the panel.
                    const int row = thread % 128 / 32 * 16;
                    const int left = rows_left - 64 - row;
                    bf16* const to = d + (first_row * d_row_stride + int64(tile_col) + d_row_stride * 64LL + 128LL);
                    RowParts parts = parts_of_rows(to + row * d_row_stride, d_row_stride, lane, cols_left - 128);
                    #pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        uint32 words[8];
                        #pragma unroll
                        for (int i = 0; i < 8; ++i) {
                            words[i] = read_word(d_panels + d_panels_piece(row + 8 * j + i, lane / 4) + lane % 4 * 4);
                        }
                        store_rows(parts, words, left - 8 * j, lane);
                    }
                }
                // The next panel's sums come where these are read.
                __syncwarp();
            } else {
                const int beyond = read_slot + ceil_div(reduction_of_tile, 64);
                read_parity = (read_parity + beyond / 4) % 2;
                read_slot = beyond % 4;
                free_slot = read_slot;
            }
            next = 1 - next;
        }
    }
    // consumer 1: warps 4 to 7
    else if (warp >= 4 && warp < 8) {
        grow_registers<240>();
        int read_slot = 0;
        int read_parity = 0;
        int free_slot = 0;
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
            // The tail has no weight: its rows are sums of nothing.
            const int reduction_of_tile = group == group_count ? 0 : reduction;
            if (next == 1) {
                #pragma unroll
                for (int i = 0; i < 2; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 24; ++j) {
                        sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0.0f;
                    }
                }
                named_barrier_meet(5, 256);
                const int blocks = ceil_div(reduction_of_tile, 64);
                #pragma unroll 1
                for (int block = 0; block < blocks; ++block) {
                    const int slot_2 = read_slot;
                    mbarrier_wait(stage_full + slot_2 * 8, read_parity);
                    read_parity = read_slot == 3 ? 1 - read_parity : read_parity;
                    read_slot = read_slot == 3 ? 0 : read_slot + 1;
                    wgmma_fence();
                    #pragma unroll
                    for (int step = 0; step < 4; ++step) {
                        {
                            const uint64 from_b = wgmma_advance(b_operand, slot_2 * 1536 + step * 2);
                            #pragma unroll
                            for (int i = 0; i < 2; ++i) {
                                const uint64 from_a = wgmma_advance(a_operand, slot_2 * 1024 + step * 2 + i * 512);
                                wgmma_m64n192k16_ak_bk(sums[i], from_a, from_b, true);
                            }
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
                        free_slot = free_slot == 3 ? 0 : free_slot + 1;
                    }
                }
                named_barrier_pass(4, 256);
                wgmma_wait<0>();
                wgmma_release(sums[0]);
                wgmma_release(sums[1]);
                if (blocks != 0) {
                    __syncwarp();
                    if (elect_one()) {
                        mbarrier_arrive(stage_empty + free_slot * 8);
                    }
                    __syncwarp();
                    free_slot = free_slot == 3 ? 0 : free_slot + 1;
                }
                const int rows_left = group_rows - tile_row;
                const int cols_left = cols - tile_col;
                const int64 first_row = int64(group_start + tile_row);
                {
                    const int row_of_warp = warp % 4 * 16;
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const uint32 x0 = pack_bf16(sums[0][j * 2][0], sums[0][j * 2][1]);
                        const uint32 x1 = pack_bf16(sums[0][j * 2][2], sums[0][j * 2][3]);
                        const uint32 x2 = pack_bf16(sums[0][j * 2 + 1][0], sums[0][j * 2 + 1][1]);
                        const uint32 x3 = pack_bf16(sums[0][j * 2 + 1][2], sums[0][j * 2 + 1][3]);
                        stmatrix_x4(d_panels + 1 * 8192 + d_panels_piece(row_of_warp + lane % 16, j * 2 + lane / 16), x0, x1, x2, x3);
                    }
                }
                __syncwarp();
                {
                    // The rows that this warp wrote to the panel.
                    const int row = thread % 128 / 32 * 16;
                    const int left = rows_left - row;
                    bf16* const to = d + (first_row * d_row_stride + int64(tile_col));
                    RowParts parts = parts_of_rows(to + row * d_row_stride, d_row_stride, lane, cols_left);
                    #pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        uint32 words[8];
                        #pragma unroll
                        for (int i = 0; i < 8; ++i) {
                            words[i] = read_word(d_panels + 1 * 8192 + d_panels_piece(row + 8 * j + i, lane / 4) + lane % 4 * 4);
                        }
                        store_rows(parts, words, left - 8 * j, lane);
                    }
                }
                // The next panel's sums come where these are read.
                __syncwarp();
                {
                    const int row_of_warp = warp % 4 * 16 + 64 - 64;
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const uint32 x0 = pack_bf16(sums[1][j * 2][0], sums[1][j * 2][1]);
                        const uint32 x1 = pack_bf16(sums[1][j * 2][2], sums[1][j * 2][3]);
                        const uint32 x2 = pack_bf16(sums[1][j * 2 + 1][0], sums[1][j * 2 + 1][1]);
                        const uint32 x3 = pack_bf16(sums[1][j * 2 + 1][2], sums[1][j * 2 + 1][3]);
                        stmatrix_x4(d_panels + 1 * 8192 + d_panels_piece(row_of_warp + lane % 16, j * 2 + lane / 16), x0, x1, x2, x3);
                    }
                }
                __syncwarp();
                {
                    // The rows that this warp wrote to the panel.
                    const int row = thread % 128 / 32 * 16;
                    const int left = rows_left - 64 - row;
                    bf16* const to = d + (first_row * d_row_stride + int64(tile_col) + d_row_stride * 64LL);
                    RowParts parts = parts_of_rows(to + row * d_row_stride, d_row_stride, lane, cols_left);
                    #pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        uint32 words[8];
                        #pragma unroll
                        for (int i = 0; i < 8; ++i) {
                            words[i] = read_word(d_panels + 1 * 8192 + d_panels_piece(row + 8 * j + i, lane / 4) + lane % 4 * 4);
                        }
                        store_rows(parts, words, left - 8 * j, lane);
                    }
                }
                // The next panel's sums come where these are read.
                __syncwarp();
                {
                    const int row_of_warp = warp % 4 * 16;
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const uint32 x0 = pack_bf16(sums[0][j * 2 + 8][0], sums[0][j * 2 + 8][1]);
                        const uint32 x1 = pack_bf16(sums[0][j * 2 + 8][2], sums[0][j * 2 + 8][3]);
                        const uint32 x2 = pack_bf16(sums[0][j * 2 + 9][0], sums[0][j * 2 + 9][1]);
                        const uint32 x3 = pack_bf16(sums[0][j * 2 + 9][2], sums[0][j * 2 + 9][3]);
                        stmatrix_x4(d_panels + 1 * 8192 + d_panels_piece(row_of_warp + lane % 16, j * 2 + lane / 16), x0, x1, x2, x3);
                    }
                }
                __syncwarp();
                {
                    // The rows that this warp wrote to the panel.
                    const int row = thread % 128 / 32 * 16;
                    const int left = rows_left - row;
                    bf16* const to = d + (first_row * d_row_stride + int64(tile_col) + 64LL);
                    RowParts parts = parts_of_rows(to + row * d_row_stride, d_row_stride, lane, cols_left - 64);
                    #pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        uint32 words[8];
                        #pragma unroll
                        for (int i = 0; i < 8; ++i) {
                            words[i] = read_word(d_panels + 1 * 8192 + d_panels_piece(row + 8 * j + i, lane / 4) + lane % 4 * 4);
                        }
                        store_rows(parts, words, left - 8 * j, lane);
                    }
                }
                // The next panel's sums come where these are read.
                __syncwarp();
                {
                    const int row_of_warp = warp % 4 * 16 + 64 - 64;
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const uint32 x0 = pack_bf16(sums[1][j * 2 + 8][0], sums[1][j * 2 + 8][1]);
                        const uint32 x1 = pack_bf16(sums[1][j * 2 + 8][2], sums[1][j * 2 + 8][3]);
                        const uint32 x2 = pack_bf16(sums[1][j * 2 + 9][0], sums[1][j * 2 + 9][1]);
                        const uint32 x3 = pack_bf16(sums[1][j * 2 + 9][2], sums[1][j * 2 + 9][3]);
                        stmatrix_x4(d_panels + 1 * 8192 + d_panels_piece(row_of_warp + lane % 16, j * 2 + lane / 16), x0, x1, x2, x3);
                    }
                }
                __syncwarp();
                {
                    // The rows that this warp wrote to the panel.
                    const int row = thread % 128 / 32 * 16;
                    const int left = rows_left - 64 - row;
                    bf16* const to = d + (first_row * d_row_stride + int64(tile_col) + d_row_stride * 64LL + 64LL);
                    RowParts parts = parts_of_rows(to + row * d_row_stride, d_row_stride, lane, cols_left - 64);
                    #pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        uint32 words[8];
                        #pragma unroll
                        for (int i = 0; i < 8; ++i) {
                            words[i] = read_word(d_panels + 1 * 8192 + d_panels_piece(row + 8 * j + i, lane / 4) + lane % 4 * 4);
                        }
                        store_rows(parts, words, left - 8 * j, lane);
                    }
                }
                // The next panel's sums come where these are read.
                __syncwarp();
                {
                    const int row_of_warp = warp % 4 * 16;
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const uint32 x0 = pack_bf16(sums[0][j * 2 + 16][0], sums[0][j * 2 + 16][1]);
                        const uint32 x1 = pack_bf16(sums[0][j * 2 + 16][2], sums[0][j * 2 + 16][3]);
                        const uint32 x2 = pack_bf16(sums[0][j * 2 + 17][0], sums[0][j * 2 + 17][1]);
                        const uint32 x3 = pack_bf16(sums[0][j * 2 + 17][2], sums[0][j * 2 + 17][3]);
                        stmatrix_x4(d_panels + 1 * 8192 + d_panels_piece(row_of_warp + lane % 16, j * 2 + lane / 16), x0, x1, x2, x3);
                    }
                }
                __syncwarp();
                {
                    // The rows that this warp wrote to the panel.
                    const int row = thread % 128 / 32 * 16;
                    const int left = rows_left - row;
                    bf16* const to = d + (first_row * d_row_stride + int64(tile_col) + 128LL);
                    RowParts parts = parts_of_rows(to + row * d_row_stride, d_row_stride, lane, cols_left - 128);
                    #pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        uint32 words[8];
                        #pragma unroll
                        for (int i = 0; i < 8; ++i) {
                            words[i] = read_word(d_panels + 1 * 8192 + d_panels_piece(row + 8 * j + i, lane / 4) + lane % 4 * 4);
                        }
                        store_rows(parts, words, left - 8 * j, lane);
                    }
                }
                // The next panel's sums come where these are read.
                __syncwarp();
                {
                    const int row_of_warp = warp % 4 * 16 + 64 - 64;
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const uint32 x0 = pack_bf16(sums[1][j * 2 + 16][0], sums[1][j * 2 + 16][1]);
                        const uint32 x1 = pack_bf16(sums[1][j * 2 + 16][2], sums[1][j * 2 + 16][3]);
                        const uint32 x2 = pack_bf16(sums[1][j * 2 + 17][0], sums[1][j * 2 + 17][1]);
                        const uint32 x3 = pack_bf16(sums[1][j * 2 + 17][2], sums[1][j * 2 + 17][3]);
                        stmatrix_x4(d_panels + 1 * 8192 + d_panels_piece(row_of_warp + lane % 16, j * 2 + lane / 16), x0, x1, x2, x3);
                    }
                }
                __syncwarp();
                {
                    // The rows that this warp wrote to the panel.
                    const int row = thread % 128 / 32 * 16;
                    const int left = rows_left - 64 - row;
                    bf16* const to = d + (first_row * d_row_stride + int64(tile_col) + d_row_stride * 64LL + 128LL);
                    RowParts parts = parts_of_rows(to + row * d_row_stride, d_row_stride, lane, cols_left - 128);
                    #pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        uint32 words[8];
                        #pragma unroll
                        for (int i = 0; i < 8; ++i) {
                            words[i] = read_word(d_panels + 1 * 8192 + d_panels_piece(row + 8 * j + i, lane / 4) + lane % 4 * 4);
                        }
                        store_rows(parts, words, left - 8 * j, lane);
                    }
                }
                // The next panel's sums come where these are read.
                __syncwarp();
            } else {
                const int beyond = read_slot + ceil_div(reduction_of_tile, 64);
                read_parity = (read_parity + beyond / 4) % 2;
                read_slot = beyond % 4;
                free_slot = read_slot;
            }
            next = 1 - next;
        }
    }
    // producers: warps 8 to 11
    else if (warp >= 8) {
        shrink_registers<24>();
        // finder: warp 8
        if (warp == 8) {
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
                    const int clipped = int(min_of(max_of(entry, 0LL), int64(rows)));
                    // Ends become running maxima, sizes a running sum; both are clipped to the token matrix.
                    int running = clipped;
                    const int below = __shfl_up_sync(ALL_LANES, running, 1);
                    running = lane >= 1 ? (groups_are_ends ? max_of(running, below) : running + min_of(below, rows - running)) : running;
                    const int below_2 = __shfl_up_sync(ALL_LANES, running, 2);
                    running = lane >= 2 ? (groups_are_ends ? max_of(running, below_2) : running + min_of(below_2, rows - running)) : running;
                    const int below_3 = __shfl_up_sync(ALL_LANES, running, 4);
                    running = lane >= 4 ? (groups_are_ends ? max_of(running, below_3) : running + min_of(below_3, rows - running)) : running;
                    const int below_4 = __shfl_up_sync(ALL_LANES, running, 8);
                    running = lane >= 8 ? (groups_are_ends ? max_of(running, below_4) : running + min_of(below_4, rows - running)) : running;
                    const int below_5 = __shfl_up_sync(ALL_LANES, running, 16);
                    running = lane >= 16 ? (groups_are_ends ? max_of(running, below_5) : running + min_of(below_5, rows - running)) : running;
                    const int rows_before = __shfl_sync(ALL_LANES, end, 31);
                    const int end_of_lane = groups_are_ends ? max_of(rows_before, running) : rows_before + min_of(running, rows - rows_before);
                    const int end_below = __shfl_up_sync(ALL_LANES, end_of_lane, 1);
                    start = lane == 0 ? rows_before : end_below;
                    end = end_of_lane;
                    // The rows past the last group are one more group's.
                    if (first_group + lane == group_count && zero_tail) {
                        end = rows;
                    }
                    const int tiles_of_lane = ceil_div(end - start, 128) * col_tiles;
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
                const int group = first_group + holder;
                const int group_start = start_of_group;
                const int group_rows = end_of_group - start_of_group;
                const int row_tiles = ceil_div(group_rows, 128);
                // Bands of row tiles, column by column: neighbours in time share operands in L2.
                const int tile_in_group = tile - (tiles_end_of_group - row_tiles * col_tiles);
                const int band = tile_in_group / (col_tiles * 16);
                const int tile_in_band = tile_in_group - band * col_tiles * 16;
                const int band_rows = min_of(row_tiles - band * 16, 16);
                const int tile_row = (band * 16 + tile_in_band % band_rows) * 128;
                const int tile_col = tile_in_band / band_rows * 192;
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
        // loader: warp 9
        else if (warp == 9) {
            __syncwarp();
            if (elect_one()) {
                prefetch_tensor_map(a);
                prefetch_tensor_map(b);
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
                // The tail has no weight: its rows are sums of nothing.
                const int reduction_of_tile = group == group_count ? 0 : reduction;
                const int blocks = ceil_div(reduction_of_tile, 64);
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
                        tma_load(a_tiles + fill_slot * 16384, a, stage_full + fill_slot * 8, block * 64, 1073741824 - (group_rows - tile_row), group_start + group_rows, 1073741824);
                        tma_load(b_tiles + fill_slot * 24576, b, stage_full + fill_slot * 8, block * 64, tile_col, group);
                    }
                    __syncwarp();
                    fill_parity = fill_slot == 3 ? 1 - fill_parity : fill_parity;
                    fill_slot = fill_slot == 3 ? 0 : fill_slot + 1;
                }
            }
        }
    }
}
