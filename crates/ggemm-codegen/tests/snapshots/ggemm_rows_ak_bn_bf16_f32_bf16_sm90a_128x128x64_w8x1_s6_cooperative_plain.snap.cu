// ggemm_rows_ak_bn_bf16_f32_bf16_sm90a_128x128x64_w8x1_s6_cooperative_plain
//
// d[rows of g] = a[rows of g] · b[g], with a [rows, k] and b[g] [k, n]
// 512 threads a CTA, 197088 bytes of shared memory, rows aligned to 2 bytes.
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

// ---- staging: pieces of 8 elements of 2 bytes, from any address of global memory to shared memory ----

// A thread's pieces of a block on their way: PANELS of each row, of rows that are a multiple of 8 apart, so that all begin
// at the same offset from 16 bytes. Global memory is read 16 aligned bytes at a time, a piece from the one or two that hold
// it, and kept as it lies there until it is stored: many loads are in flight at once.
template <typename T, int COUNT, int PANELS, int ROWS_AT_ONCE>
struct Staged {
    const char* from;     // the aligned bytes of the next row's first piece
    int64 step;           // bytes to the thread's next row
    uint32 offset;        // bytes from there to the first element
    int rows, cols;       // that exist from the thread's first element on (any value)
    uint4 low[COUNT];
    uint4 high[COUNT];
};

// The thread's first element is `from`.
template <typename T, int COUNT, int PANELS, int ROWS_AT_ONCE>
__device__ __forceinline__ void begin_pieces(Staged<T, COUNT, PANELS, ROWS_AT_ONCE>& staged, const T* from,
                                             int64 row_stride, int rows, int cols) {
    staged.offset = reinterpret_cast<unsigned long long>(from) % 16;
    staged.from = reinterpret_cast<const char*>(from) - staged.offset;
    staged.step = ROWS_AT_ONCE * 2 * row_stride;
    staged.rows = rows;
    staged.cols = cols;
}

// Reads pieces FIRST to END, after those before them: the aligned bytes that hold what exists, and none that hold nothing
// of it.
template <int FIRST, int END, typename T, int COUNT, int PANELS, int ROWS_AT_ONCE>
__device__ __forceinline__ void load_pieces(Staged<T, COUNT, PANELS, ROWS_AT_ONCE>& staged) {
    #pragma unroll
    for (int i = FIRST; i < END; ++i) {
        const int row = i / PANELS * ROWS_AT_ONCE, panel = i % PANELS;
        const int left = row < staged.rows ? min_of(staged.cols - panel * 64, 8) : 0;
        const char* const from = staged.from + panel * 128;
        load_aligned(staged.low[i], from, left > 0);
        load_aligned(staged.high[i], from + 16, left > 0 && int(staged.offset) + 2 * left > 16);
        if (panel == PANELS - 1) staged.from += staged.step;
    }
}

// The bits of a word of which `left` (any value) elements of 2 bytes exist.
__device__ __forceinline__ uint32 existing(uint32 word, int left) {
    return left >= 2 ? word : left == 1 ? word & 0xffff : 0;
}

// Writes pieces FIRST to END, zeros for what does not exist; `to` is the place of the first piece of all, from which
// panels and the thread's rows are so many bytes apart.
template <int FIRST, int END, typename T, int COUNT, int PANELS, int ROWS_AT_ONCE>
__device__ __forceinline__ void store_pieces(uint32 to, int panel_bytes, int row_bytes,
                                             const Staged<T, COUNT, PANELS, ROWS_AT_ONCE>& staged) {
    // Six words from the first or the third on; of these, five from the first or the second on.
    const bool third = staged.offset & 8, second = staged.offset & 4;
    #pragma unroll
    for (int i = FIRST; i < END; ++i) {
        const uint4 low = staged.low[i], high = staged.high[i];
        const uint32 six[6] = {third ? low.z : low.x,  third ? low.w : low.y,  third ? high.x : low.z,
                               third ? high.y : low.w, third ? high.z : high.x, third ? high.w : high.y};
        uint32 piece[4];
        #pragma unroll
        for (int j = 0; j < 4; ++j) {
            const uint32 word = second ? six[j + 1] : six[j], next = second ? six[j + 2] : six[j + 1];
            const uint32 aligned = __funnelshift_r(word, next, staged.offset % 4 * 8);
            piece[j] = existing(aligned, staged.cols - i % PANELS * 64 - 2 * j);
        }
        asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to + i % PANELS * panel_bytes
                                                                      + i / PANELS * row_bytes),
                     "r"(piece[0]), "r"(piece[1]), "r"(piece[2]), "r"(piece[3])
                     : "memory");
    }
}

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

// ---- stores: f32 sums, rounded to the nearest bf16 (ties to even) ----
__device__ __forceinline__ void store_one(bf16* to, float x) {
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to->bits) : "f"(x));
}

__device__ __forceinline__ uint32 round_pair(bf16*, float x0, float x1) {
    uint32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %2, %1;" : "=r"(pair) : "f"(x0), "f"(x1));
    return pair;
}

__device__ __forceinline__ void store_two(bf16* to, float x0, float x1) {
    *reinterpret_cast<uint32*>(to) = round_pair(to, x0, x1);
}

// ---- stores of two neighbouring columns, of which `left` (any value) exist ----

// Both together: rows are 16-byte aligned.
template <typename T>
__device__ __forceinline__ void store_pair(T* to, float x0, float x1, int left) {
    if (left >= 2) {
        store_two(to, x0, x1);
    } else if (left == 1) {
        store_one(to, x0);
    }
}

// One by one: rows may start anywhere.
template <typename T>
__device__ __forceinline__ void store_singly(T* to, float x0, float x1, int left) {
    if (left >= 1) store_one(to, x0);
    if (left >= 2) store_one(to + 1, x1);
}

// Byte offset of a 16-byte piece in one of a_tiles, each [128, 64]:
// rows of 128 bytes, pieces swizzled by row.
__device__ __forceinline__ uint32 a_tiles_piece(uint32 row, uint32 piece) {
    return row * 128 + (piece ^ row) % 8 * 16;
}

// Byte offset of a 16-byte piece in one of b_tiles, each [64, 128]:
// 2 panels, rows of 128 bytes, pieces swizzled by row.
__device__ __forceinline__ uint32 b_tiles_piece(uint32 row, uint32 piece) {
    return piece / 8 * 8192 + row * 128 + (piece ^ row) % 8 * 16;
}

// d[64, 128] (+)= a[64, 16] · b[128, 16]ᵀ in bf16, summed in f32; `keep` adds to what d holds.
__device__ __forceinline__ void wgmma_m64n128k16_ak_bmn(float (&d)[16][4], uint64 a, uint64 b, bool keep) {
    asm volatile("{\n"
                 ".reg .pred keep;\n"
                 "setp.ne.b32 keep, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
                 "}, %64, %65, keep, 1, 1, 0, 1;\n"
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

extern "C" __global__ void __launch_bounds__(512, 1)
ggemm_rows_ak_bn_bf16_f32_bf16_sm90a_128x128x64_w8x1_s6_cooperative_plain(
    const bf16* __restrict__ a,
    const bf16* __restrict__ b,
    bf16* __restrict__ d,
    const void* __restrict__ groups,
    const int group_count,
    const bool groups_are_ends,
    const bool groups_are_i64,
    const int rows,
    const int cols,
    const int reduction,
    const int64 a_row_stride,
    const int64 b_row_stride,
    const int64 d_row_stride,
    const int64 b_group_stride,
    const bool zero_tail)
{
    const int thread = int(threadIdx.x);
    const int lane = int(threadIdx.x) % 32;
    const int warp = warp_index();
    const int warpgroup = warp / 4;

    extern __shared__ __align__(1024) unsigned char shared_memory[];
    const uint32 a_tiles = shared_address(shared_memory);  // 6 x 16384 bytes
    const uint32 b_tiles = shared_address(shared_memory) + 98304;  // 6 x 16384 bytes
    const uint32 tile_words = shared_address(shared_memory) + 196608;  // 20 x 16 bytes
    const uint32 stage_full = shared_address(shared_memory) + 196928;  // 6 barriers of 4 arrivals
    const uint32 stage_empty = shared_address(shared_memory) + 196976;  // 6 barriers of 8 arrivals
    const uint32 tile_full = shared_address(shared_memory) + 197024;  // 4 barriers of 1 arrivals
    const uint32 tile_empty = shared_address(shared_memory) + 197056;  // 4 barriers of 12 arrivals
    const uint64 a_operand = wgmma_descriptor(a_tiles + warpgroup % 2 * 8192, 0x4000004000010000);
    const uint64 b_operand = wgmma_descriptor(b_tiles, 0x4000004002000000);

    float sums[1][16][4];
    Staged<bf16, 8, 1, 16> a_staged;
    Staged<bf16, 8, 2, 16> b_staged;

    const int col_tiles = ceil_div(cols, 128);
    if (warp == 0) {
        __syncwarp();
        if (elect_one()) {
            #pragma unroll
            for (int i = 0; i < 6; ++i) {
                mbarrier_init(stage_full + i * 8, 4);
            }
            #pragma unroll
            for (int i = 0; i < 6; ++i) {
                mbarrier_init(stage_empty + i * 8, 8);
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(tile_full + i * 8, 1);
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                mbarrier_init(tile_empty + i * 8, 12);
            }
            mbarrier_init_fence();
        }
        __syncwarp();
    }
    __syncthreads();
    // What is above may overlap the end of the grid before this one, and the next grid's beginning this one's end.
    await_grid();
    launch_dependents();
    // consumers: warps 0 to 7
    if (warp < 8) {
        grow_registers<160>();
        int read_slot = 0;
        int read_parity = 0;
        int free_slot = 0;
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
            #pragma unroll
            for (int i = 0; i < 1; ++i) {
                #pragma unroll
                for (int j = 0; j < 16; ++j) {
                    sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0.0f;
                }
            }
            const int blocks = ceil_div(reduction_of_tile, 64);
            #pragma unroll 1
            for (int block = 0; block < blocks; ++block) {
                const int slot_2 = read_slot;
                mbarrier_wait(stage_full + slot_2 * 8, read_parity);
                read_parity = read_slot == 5 ? 1 - read_parity : read_parity;
                read_slot = read_slot == 5 ? 0 : read_slot + 1;
                wgmma_fence();
                #pragma unroll
                for (int step = 0; step < 4; ++step) {
                    {
                        const uint64 from_b = wgmma_advance(b_operand, slot_2 * 1024 + step * 128);
                        const uint64 from_a = wgmma_advance(a_operand, slot_2 * 1024 + step * 2);
                        wgmma_m64n128k16_ak_bmn(sums[0], from_a, from_b, true);
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
                    free_slot = free_slot == 5 ? 0 : free_slot + 1;
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
                free_slot = free_slot == 5 ? 0 : free_slot + 1;
            }
            const int rows_left = group_rows - tile_row;
            const int cols_left = cols - tile_col;
            const int64 first_row = int64(group_start + tile_row);
            {
                const int row_of_warp = warp % 4 * 16 + warpgroup % 2 * 64;
                bf16* const to = d + (first_row * d_row_stride + int64(tile_col));
                #pragma unroll
                for (int i = 0; i < 1; ++i) {
                    #pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        const int row = row_of_warp + i * 64 + half * 8 + lane / 4;
                        if (row < rows_left) {
                            #pragma unroll
                            for (int j = 0; j < 16; ++j) {
                                const int col = j * 8 + lane % 4 * 2;
                                store_singly(to + row * d_row_stride + col, sums[i][j][2 * half], sums[i][j][2 * half + 1], cols_left - col);
                            }
                        }
                    }
                }
            }
        }
    }
    // loader: warps 8 to 11
    else if (warp >= 8 && warp < 12) {
        grow_registers<168>();
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
            const int rows_left = group_rows - tile_row;
            const int cols_left = cols - tile_col;
            const int64 first_row = int64(group_start + tile_row);
            const int k_left = reduction_of_tile;
            {
                const int row = thread % 128 / 8, col = thread % 128 % 8 * 8;
                const bf16* const from = a + (first_row * a_row_stride)
                    + (row * a_row_stride + col);
                begin_pieces(a_staged, from, a_row_stride, rows_left - row, k_left - col);
            }
            load_pieces<0, 2>(a_staged);
            load_pieces<2, 4>(a_staged);
            load_pieces<4, 6>(a_staged);
            #pragma unroll 1
            for (int block = 0; block < blocks; ++block) {
                const int k_offset = block * 64;
                const int k_left_2 = reduction_of_tile - k_offset;
                // After the last stage nothing is left, of which nothing is read.
                const int next_offset = k_offset + 64;
                const int k_left_3 = reduction_of_tile - next_offset;
                load_pieces<6, 8>(a_staged);
                mbarrier_wait(stage_empty + fill_slot * 8, fill_parity);
                store_pieces<0, 2>(a_tiles + fill_slot * 16384 + a_tiles_piece(thread % 128 / 8, thread % 128 % 8), 0, 2048, a_staged);
                {
                    const int row = thread % 128 / 8, col = thread % 128 % 8 * 8;
                    const bf16* const from = b + (int64(group) * b_group_stride + int64(tile_col) + int64(k_offset) * b_row_stride)
                        + (row * b_row_stride + col);
                    begin_pieces(b_staged, from, b_row_stride, k_left_2 - row, cols_left - col);
                }
                load_pieces<0, 2>(b_staged);
                store_pieces<2, 4>(a_tiles + fill_slot * 16384 + a_tiles_piece(thread % 128 / 8, thread % 128 % 8), 0, 2048, a_staged);
                load_pieces<2, 4>(b_staged);
                store_pieces<4, 6>(a_tiles + fill_slot * 16384 + a_tiles_piece(thread % 128 / 8, thread % 128 % 8), 0, 2048, a_staged);
                load_pieces<4, 6>(b_staged);
                store_pieces<6, 8>(a_tiles + fill_slot * 16384 + a_tiles_piece(thread % 128 / 8, thread % 128 % 8), 0, 2048, a_staged);
                load_pieces<6, 8>(b_staged);
                store_pieces<0, 2>(b_tiles + fill_slot * 16384 + b_tiles_piece(thread % 128 / 8, thread % 128 % 8), 8192, 2048, b_staged);
                {
                    const int row = thread % 128 / 8, col = thread % 128 % 8 * 8;
                    const bf16* const from = a + (first_row * a_row_stride + int64(next_offset))
                        + (row * a_row_stride + col);
                    begin_pieces(a_staged, from, a_row_stride, rows_left - row, k_left_3 - col);
                }
                load_pieces<0, 2>(a_staged);
                store_pieces<2, 4>(b_tiles + fill_slot * 16384 + b_tiles_piece(thread % 128 / 8, thread % 128 % 8), 8192, 2048, b_staged);
                load_pieces<2, 4>(a_staged);
                store_pieces<4, 6>(b_tiles + fill_slot * 16384 + b_tiles_piece(thread % 128 / 8, thread % 128 % 8), 8192, 2048, b_staged);
                load_pieces<4, 6>(a_staged);
                store_pieces<6, 8>(b_tiles + fill_slot * 16384 + b_tiles_piece(thread % 128 / 8, thread % 128 % 8), 8192, 2048, b_staged);
                fence_proxy_async();
                __syncwarp();
                if (elect_one()) {
                    mbarrier_arrive(stage_full + fill_slot * 8);
                }
                __syncwarp();
                fill_parity = fill_slot == 5 ? 1 - fill_parity : fill_parity;
                fill_slot = fill_slot == 5 ? 0 : fill_slot + 1;
            }
        }
    }
    // finders: warps 12 to 15
    else if (warp >= 12) {
        shrink_registers<24>();
        // finder: warp 12
        if (warp == 12) {
            int fill_slot = 0;
            int fill_parity = 1;
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
                tile = tile + int(gridDim.x);
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
    }
}
