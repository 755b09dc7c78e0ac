// ggemm_reduction_am_bn_f32_f32_bf16_sm80_64x64x16_w2x2_s2_multistage_plain
//
// d[g] = a[rows of g]ᵀ · b[rows of g], with a [rows, m] and b [rows, n]
// 128 threads a CTA, 16384 bytes of shared memory, rows aligned to 4 bytes.
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

// ---- staging: pieces of 4 elements of 4 bytes, from any address of global memory to shared memory ----

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
    staged.step = ROWS_AT_ONCE * 4 * row_stride;
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
        const int left = row < staged.rows ? min_of(staged.cols - panel * 32, 4) : 0;
        const char* const from = staged.from + panel * 128;
        load_aligned(staged.low[i], from, left > 0);
        load_aligned(staged.high[i], from + 16, left > 0 && int(staged.offset) + 4 * left > 16);
        if (panel == PANELS - 1) staged.from += staged.step;
    }
}

// Writes pieces FIRST to END, zeros for what does not exist; `to` is the place of the first piece of all, from which
// panels and the thread's rows are so many bytes apart.
template <int FIRST, int END, typename T, int COUNT, int PANELS, int ROWS_AT_ONCE>
__device__ __forceinline__ void store_pieces(uint32 to, int panel_bytes, int row_bytes,
                                             const Staged<T, COUNT, PANELS, ROWS_AT_ONCE>& staged) {
    // Five words from the first or the third on; of these, four from the first or the second on.
    const bool third = staged.offset & 8, second = staged.offset & 4;
    #pragma unroll
    for (int i = FIRST; i < END; ++i) {
        const uint4 low = staged.low[i], high = staged.high[i];
        const uint32 five[5] = {third ? low.z : low.x, third ? low.w : low.y, third ? high.x : low.z,
                                third ? high.y : low.w, third ? high.z : high.x};
        uint32 piece[4];
        #pragma unroll
        for (int j = 0; j < 4; ++j) {
            const uint32 word = second ? five[j + 1] : five[j];
            piece[j] = staged.cols - i % PANELS * 32 - j > 0 ? word : 0;
        }
        asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to + i % PANELS * panel_bytes
                                                                      + i / PANELS * row_bytes),
                     "r"(piece[0]), "r"(piece[1]), "r"(piece[2]), "r"(piece[3])
                     : "memory");
    }
}

// ---- ldmatrix: four 8x8 matrices of 2-byte elements from shared memory, one row address a lane ----
__device__ __forceinline__ uint32 shared_address(const void* p) {
    return static_cast<uint32>(__cvta_generic_to_shared(p));
}

// Into one 16x16 block of A, or into two 8x16 blocks of B.
__device__ __forceinline__ void ldmatrix_x4(uint32 (&a)[4], uint32 row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(row)
                 : "memory");
}

__device__ __forceinline__ void ldmatrix_x4(uint32 (&b0)[2], uint32 (&b1)[2], uint32 row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(b0[0]), "=r"(b0[1]), "=r"(b1[0]), "=r"(b1[1])
                 : "r"(row)
                 : "memory");
}

// The same from tiles whose rows are the reduction.
__device__ __forceinline__ void ldmatrix_x4_trans(uint32 (&a)[4], uint32 row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(row)
                 : "memory");
}

__device__ __forceinline__ void ldmatrix_x4_trans(uint32 (&b0)[2], uint32 (&b1)[2], uint32 row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(b0[0]), "=r"(b0[1]), "=r"(b1[0]), "=r"(b1[1])
                 : "r"(row)
                 : "memory");
}

// ---- 4 bytes from shared memory: an element whose neighbours lie across the reduction ----
__device__ __forceinline__ uint32 load_word(uint32 from) {
    uint32 word;
    asm volatile("ld.shared.b32 %0, [%1];" : "=r"(word) : "r"(from) : "memory");
    return word;
}

// ---- mma.sync: d[16, 8] += a[16, 8] · b[8, 8] in TF32, summed in f32 ----

// Rounds the f32 in each register to the nearest that has 10 bits of fraction, ties away from zero.
template <int N>
__device__ __forceinline__ void round_to_tf32(uint32 (&x)[N]) {
    #pragma unroll
    for (int i = 0; i < N; ++i) {
        asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(x[i]) : "f"(__uint_as_float(x[i])));
    }
}

__device__ __forceinline__ void mma_m16n8k8(float (&d)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
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

// Byte offset of a 16-byte piece in one of a_tiles, each [16, 64]:
// 2 panels, rows of 128 bytes, pieces swizzled by row.
__device__ __forceinline__ uint32 a_tiles_piece(uint32 row, uint32 piece) {
    return piece / 8 * 2048 + row * 128 + (piece ^ row * 2) % 8 * 16;
}

// Byte offset of a 16-byte piece in one of b_tiles, each [16, 64]:
// 2 panels, rows of 128 bytes, pieces swizzled by row.
__device__ __forceinline__ uint32 b_tiles_piece(uint32 row, uint32 piece) {
    return piece / 8 * 2048 + row * 128 + (piece ^ row * 2) % 8 * 16;
}

extern "C" __global__ void __launch_bounds__(128, 1)
ggemm_reduction_am_bn_f32_f32_bf16_sm80_64x64x16_w2x2_s2_multistage_plain(
    const f32* __restrict__ a,
    const f32* __restrict__ b,
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
    const int64 d_group_stride,
    const bool merge_groups)
{
    const int thread = threadIdx.x;
    __builtin_assume(0 <= thread && thread < 128);
    const int lane = thread % 32;
    const int warp = thread / 32;
    const int warp_m = warp % 2;  // 32 rows each
    const int warp_n = warp / 2;  // 32 columns each

    extern __shared__ __align__(1024) unsigned char shared_memory[];
    const uint32 a_tiles = shared_address(shared_memory);  // 2 x 4096 bytes
    const uint32 b_tiles = shared_address(shared_memory) + 8192;  // 2 x 4096 bytes

    Staged<f32, 2, 2, 16> a_staged;
    Staged<f32, 2, 2, 16> b_staged;
    uint32 a_fragment[2][2][4];
    uint32 b_fragment[2][4][2];
    float sums[2][4][4];

    const int col_tiles = ceil_div(cols, 64);
    const int row_tiles_of_each = ceil_div(rows, 64);
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
            const int tiles_of_lane = (merge_groups ? lane == 0 && group_count < first_group + 32 : first_group + lane < group_count) ? row_tiles_of_each * col_tiles : 0;
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
        const int tile_col = tile_in_band / band_rows * 64;
        const int rows_left = rows - tile_row;
        const int cols_left = cols - tile_col;
        #pragma unroll
        for (int i = 0; i < 2; ++i) {
            #pragma unroll
            for (int j = 0; j < 4; ++j) {
                sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0.0f;
            }
        }
        const int blocks = ceil_div(group_rows, 16);
        if (blocks > 0) {
            int slot = 0;
            const int k_offset = 0;
            const int k_left = group_rows - k_offset;
            {
                const int row = thread / 8, col = thread % 8 * 4;
                const f32* const from = a + (int64(group_start) * a_row_stride + int64(tile_row) + int64(k_offset) * a_row_stride)
                    + (row * a_row_stride + col);
                begin_pieces(a_staged, from, a_row_stride, k_left - row, rows_left - col);
            }
            load_pieces<0, 2>(a_staged);
            {
                const int row = thread / 8, col = thread % 8 * 4;
                const f32* const from = b + (int64(group_start) * b_row_stride + int64(tile_col) + int64(k_offset) * b_row_stride)
                    + (row * b_row_stride + col);
                begin_pieces(b_staged, from, b_row_stride, k_left - row, cols_left - col);
            }
            load_pieces<0, 2>(b_staged);
            store_pieces<0, 2>(a_tiles + slot * 4096 + a_tiles_piece(thread / 8, thread % 8), 2048, 0, a_staged);
            store_pieces<0, 2>(b_tiles + slot * 4096 + b_tiles_piece(thread / 8, thread % 8), 2048, 0, b_staged);
            __syncthreads();
            #pragma unroll 1
            for (int block = 0; block < blocks; ++block) {
                const int coming = block + 1;
                const bool more = coming < blocks;
                if (more) {
                    const int k_offset_2 = coming * 16;
                    const int k_left_2 = group_rows - k_offset_2;
                    {
                        const int row = thread / 8, col = thread % 8 * 4;
                        const f32* const from = a + (int64(group_start) * a_row_stride + int64(tile_row) + int64(k_offset_2) * a_row_stride)
                            + (row * a_row_stride + col);
                        begin_pieces(a_staged, from, a_row_stride, k_left_2 - row, rows_left - col);
                    }
                    load_pieces<0, 2>(a_staged);
                    {
                        const int row = thread / 8, col = thread % 8 * 4;
                        const f32* const from = b + (int64(group_start) * b_row_stride + int64(tile_col) + int64(k_offset_2) * b_row_stride)
                            + (row * b_row_stride + col);
                        begin_pieces(b_staged, from, b_row_stride, k_left_2 - row, cols_left - col);
                    }
                    load_pieces<0, 2>(b_staged);
                }
                #pragma unroll
                for (int step = 0; step < 2; ++step) {
                    {
                        const uint32 from = a_tiles + slot * 4096 + a_tiles_piece(lane % 4, warp_m * 8 + lane / 16) + lane / 4 % 4 * 4;
                        #pragma unroll
                        for (int i = 0; i < 2; ++i) {
                            #pragma unroll
                            for (int half = 0; half < 2; ++half) {
                                a_fragment[step % 2][i][half] = load_word((from ^ (i * 64 + half * 32)) + step * 1024);
                                a_fragment[step % 2][i][half + 2] = load_word((from ^ (i * 64 + half * 32)) + step * 1024 + 512);
                            }
                        }
                    }
                    {
                        const uint32 from = b_tiles + slot * 4096 + b_tiles_piece(lane % 4, warp_n * 8 + lane / 16) + lane / 4 % 4 * 4;
                        #pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            b_fragment[step % 2][i][0] = load_word((from ^ i * 32) + step * 1024);
                            b_fragment[step % 2][i][1] = load_word((from ^ i * 32) + step * 1024 + 512);
                        }
                    }
                    #pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        round_to_tf32(a_fragment[step % 2][i]);
                    }
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        round_to_tf32(b_fragment[step % 2][j]);
                    }
                    #pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            mma_m16n8k8(sums[i][j], a_fragment[step % 2][i], b_fragment[step % 2][j]);
                        }
                    }
                }
                const int other = slot * -1 + 1;
                if (more) {
                    store_pieces<0, 2>(a_tiles + other * 4096 + a_tiles_piece(thread / 8, thread % 8), 2048, 0, a_staged);
                    store_pieces<0, 2>(b_tiles + other * 4096 + b_tiles_piece(thread / 8, thread % 8), 2048, 0, b_staged);
                }
                slot = other;
                // The next block is written, and this one read, by all.
                __syncthreads();
            }
        }
        {
            bf16* const to = d + (int64(group) * d_group_stride + int64(tile_row) * d_row_stride + int64(tile_col));
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                #pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int row = warp_m * 32 + i * 16 + half * 8 + lane / 4;
                    if (row < rows_left) {
                        #pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            const int col = warp_n * 32 + j * 8 + lane % 4 * 2;
                            store_singly(to + row * d_row_stride + col, sums[i][j][2 * half], sums[i][j][2 * half + 1], cols_left - col);
                        }
                    }
                }
            }
        }
        tile = tile + int(gridDim.x);
    }
}
