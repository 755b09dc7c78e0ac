// ggemm_rows_ak_bk_e5m2xe4m3_f32_bf16_sm89_128x128x128_w2x4_s3_multistage_cpasync_block_promoted
//
// d[rows of g] = a[rows of g] · b[g]ᵀ, with a [rows, k] and b[g] [n, k]
// 256 threads a CTA, 98304 bytes of shared memory, rows aligned to 16 bytes.
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

// ---- types of fp8 operands, kept as bits, and of addresses ----
using uint64 = unsigned long long;
struct e4m3 { unsigned char bits; };
struct e5m2 { unsigned char bits; };

// ---- the warp: group sizes and lane exchange ----
constexpr uint32 ALL_LANES = 0xffffffffu;

// Entry `index` of an array of int (or of int64), read through the read-only path.
__device__ __forceinline__ int64 load_index(const void* array, int index, bool wide) {
    return wide ? __ldg(static_cast<const int64*>(array) + index)
                : static_cast<int64>(__ldg(static_cast<const int*>(array) + index));
}

// The lowest lane in a mask that is not empty.
__device__ __forceinline__ int first_lane(uint32 mask) { return __ffs(mask) - 1; }

// ---- cp.async: 16 bytes from global to shared memory behind the thread's back ----

// The first `bytes` bytes are read, the rest becomes zero; with 0 bytes nothing is read.
__device__ __forceinline__ void cp_async_16(uint32 to, const void* from, int bytes) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N of this thread's groups are on their way.
template <int N>
__device__ __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Bytes of a 16-byte piece of elements of a byte each, of which `left` remain (any value).
__device__ __forceinline__ int piece_bytes(int left) { return min_of(max_of(left, 0), 16); }

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

// ---- scales: read where they exist, and asked for where the text says, ahead of what hides their latency ----
__device__ __forceinline__ float load_scale(const float* from, bool exists) {
    float scale = 0.0f;
    asm volatile("{\n"
                 ".reg .pred exists;\n"
                 "setp.ne.b32 exists, %2, 0;\n"
                 "@exists ld.global.f32 %0, [%1];\n"
                 "}"
                 : "+f"(scale)
                 : "l"(from), "r"(int(exists)));
    return scale;
}

// Those of two neighbouring columns, which both exist.
__device__ __forceinline__ void load_scale_pair(float (&to)[2], const float* from) {
    asm volatile("ld.global.v2.f32 {%0, %1}, [%2];" : "=f"(to[0]), "=f"(to[1]) : "l"(from));
}

// Whether `wanted` scales can be read in pairs: all exist, and lie at a multiple of 8 bytes.
__device__ __forceinline__ bool are_pairs(const float* from, int wanted, int left) {
    return wanted <= left && reinterpret_cast<uint64>(from) % 8 == 0;
}

// ---- mma.sync: d[16, 8] += a[16, 32] · b[32, 8] in e5m2 by e4m3, summed in the tensor cores' own precision ----
__device__ __forceinline__ void mma_m16n8k32(float (&d)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
    asm("mma.sync.aligned.m16n8k32.row.col.f32.e5m2.e4m3.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
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

// ---- stores of 16 bytes: the four lanes that share a row exchange columns ----

// Of four neighbouring products, `first` the first, each lane holds two columns of each; it gets all eight columns of
// product `first + lane % 4`. A transpose of 4 x 4 in two exchanges.
template <typename T, int N>
__device__ __forceinline__ void gather_eight(uint32 (&pairs)[4], const float (&sums)[N][4], int first, int half,
                                             int lane) {
    #pragma unroll
    for (int j = 0; j < 4; ++j) {
        pairs[j] = round_pair(static_cast<T*>(nullptr), sums[first + j][2 * half], sums[first + j][2 * half + 1]);
    }
    #pragma unroll
    for (int bit = 1; bit <= 2; bit *= 2) {
        const bool upper = lane & bit;
        #pragma unroll
        for (int j = 0; j < 4; ++j) {
            if (j & bit) continue;
            const uint32 got = __shfl_xor_sync(ALL_LANES, upper ? pairs[j] : pairs[j | bit], bit);
            if (upper) pairs[j] = got;
            if (!upper) pairs[j | bit] = got;
        }
    }
}

// Eight columns together, of which `left` (any value) exist: rows are 16-byte aligned.
template <typename T>
__device__ __forceinline__ void store_eight(T* to, const uint32 (&pairs)[4], int left) {
    if (left >= 8) {
        *reinterpret_cast<uint4*>(to) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    } else {
        #pragma unroll
        for (int i = 0; i < 7; ++i) {
            if (i < left) to[i].bits = static_cast<uint16>(pairs[i / 2] >> i % 2 * 16);
        }
    }
}

// Byte offset of a 16-byte piece in one of a_tiles, each [128, 128]:
// rows of 128 bytes, pieces swizzled by row.
__device__ __forceinline__ uint32 a_tiles_piece(uint32 row, uint32 piece) {
    return row * 128 + (piece ^ row) % 8 * 16;
}

// Byte offset of a 16-byte piece in one of b_tiles, each [128, 128]:
// rows of 128 bytes, pieces swizzled by row.
__device__ __forceinline__ uint32 b_tiles_piece(uint32 row, uint32 piece) {
    return row * 128 + (piece ^ row) % 8 * 16;
}

extern "C" __global__ void __launch_bounds__(256, 1)
ggemm_rows_ak_bk_e5m2xe4m3_f32_bf16_sm89_128x128x128_w2x4_s3_multistage_cpasync_block_promoted(
    const e5m2* __restrict__ a,
    const e4m3* __restrict__ b,
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
    const bool zero_tail,
    const int64 a_scale_outer_stride,
    const int64 a_scale_reduction_stride,
    const int64 b_scale_group_stride,
    const int64 b_scale_outer_stride,
    const int64 b_scale_reduction_stride,
    const f32* __restrict__ a_scales,
    const f32* __restrict__ b_scales)
{
    const int thread = threadIdx.x;
    __builtin_assume(0 <= thread && thread < 256);
    const int lane = thread % 32;
    const int warp = thread / 32;
    const int warp_m = warp % 2;  // 64 rows each
    const int warp_n = warp / 2;  // 32 columns each

    extern __shared__ __align__(1024) unsigned char shared_memory[];
    const uint32 a_tiles = shared_address(shared_memory);  // 3 x 16384 bytes
    const uint32 b_tiles = shared_address(shared_memory) + 49152;  // 3 x 16384 bytes

    uint32 a_fragment[2][4][4];
    uint32 b_fragment[2][4][2];
    float sums[4][4][4];
    float block_sums[4][4][4];
    float row_scales[4][2];
    float col_scales[1][1];

    const int col_tiles = ceil_div(cols, 128);
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
        const int rows_left = group_rows - tile_row;
        const int cols_left = cols - tile_col;
        const int64 first_row = int64(group_start + tile_row);
        // The tail has no weight: its rows are sums of nothing.
        const int reduction_of_tile = group == group_count ? 0 : reduction;
        const int64 first_of_a_scales = int64(group_start + tile_row) * a_scale_outer_stride;
        const int a_scales_left = group_rows - tile_row;
        const int64 first_of_b_scales = int64(tile_col / 128) * b_scale_outer_stride + int64(group) * b_scale_group_stride;
        const int b_scales_left = cols - tile_col;
        #pragma unroll
        for (int i = 0; i < 4; ++i) {
            #pragma unroll
            for (int j = 0; j < 4; ++j) {
                sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0.0f;
            }
        }
        const int blocks = ceil_div(reduction_of_tile, 128);
        if (blocks > 0) {
            // Fill all stages but one. A group is committed even where no block is left, so that counts agree.
            #pragma unroll
            for (int stage = 0; stage < 2; ++stage) {
                if (stage < blocks) {
                    const int k_offset = stage * 128;
                    const int k_left = reduction_of_tile - k_offset;
                    {
                        const int piece = thread % 8;
                        const int left = k_left - piece * 16;
                        const e5m2* from = a + (first_row * a_row_stride + int64(k_offset))
                            + (thread / 8 * a_row_stride + piece * 16);
                        const uint32 to = a_tiles + stage * 16384 + a_tiles_piece(thread / 8, piece);
                        #pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            const int row = thread / 8 + i * 32;
                            cp_async_16(to + i * 4096, from, row < rows_left ? piece_bytes(left) : 0);
                            from += 32 * a_row_stride;
                        }
                    }
                    {
                        const int piece = thread % 8;
                        const int left = k_left - piece * 16;
                        const e4m3* from = b + (int64(group) * b_group_stride + int64(tile_col) * b_row_stride + int64(k_offset))
                            + (thread / 8 * b_row_stride + piece * 16);
                        const uint32 to = b_tiles + stage * 16384 + b_tiles_piece(thread / 8, piece);
                        #pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            const int row = thread / 8 + i * 32;
                            cp_async_16(to + i * 4096, from, row < cols_left ? piece_bytes(left) : 0);
                            from += 32 * b_row_stride;
                        }
                    }
                }
                cp_async_commit();
            }
            int read_slot = 0;
            int write_slot = 2;
            cp_async_wait<1>();
            __syncthreads();
            {
                const uint32 from = a_tiles + read_slot * 16384 + a_tiles_piece(warp_m * 64 + lane % 16, lane / 16);
                #pragma unroll
                for (int i = 0; i < 4; ++i) {
                    ldmatrix_x4(a_fragment[0][i], from + i * 2048);
                }
            }
            {
                const uint32 from = b_tiles + read_slot * 16384 + b_tiles_piece(warp_n * 32 + lane % 8 + lane / 16 * 8, lane / 8 % 2);
                #pragma unroll
                for (int i = 0; i < 2; ++i) {
                    ldmatrix_x4(b_fragment[0][2 * i], b_fragment[0][2 * i + 1], from + i * 2048);
                }
            }
            #pragma unroll 1
            for (int block = 0; block < blocks; ++block) {
                // Asked for before the products, which hide their latency.
                {
                    const float* from = a_scales + (first_of_a_scales + int64(block) * a_scale_reduction_stride)
                        + (warp_m * 64 + lane / 4) * a_scale_outer_stride;
                    #pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        #pragma unroll
                        for (int half = 0; half < 2; ++half) {
                            const int row = warp_m * 64 + i * 16 + half * 8 + lane / 4;
                            row_scales[i][half] = load_scale(from, row < a_scales_left);
                            from += 8 * a_scale_outer_stride;
                        }
                    }
                }
                {
                    const float* const from = b_scales + (first_of_b_scales + int64(block) * b_scale_reduction_stride);
                    #pragma unroll
                    for (int j = 0; j < 1; ++j) {
                        #pragma unroll
                        for (int half = 0; half < 1; ++half) {
                            const int col = j * 128 + lane % 4 * 2 + half;
                            col_scales[j][half] = load_scale(from + col * b_scale_outer_stride, col < b_scales_left);
                        }
                    }
                }
                #pragma unroll
                for (int i = 0; i < 4; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        block_sums[i][j][0] = block_sums[i][j][1] = block_sums[i][j][2] = block_sums[i][j][3] = 0.0f;
                    }
                }
                // The slot read in the last iteration is free: every warp has passed the barrier since. Copies are
                // issued behind a step's reads, one operand a step, so that products hide them.
                const int coming = block + 2;
                {
                    const uint32 from = a_tiles + read_slot * 16384 + a_tiles_piece(warp_m * 64 + lane % 16, lane / 16);
                    #pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        ldmatrix_x4(a_fragment[1][i], (from ^ 32) + i * 2048);
                    }
                }
                {
                    const uint32 from = b_tiles + read_slot * 16384 + b_tiles_piece(warp_n * 32 + lane % 8 + lane / 16 * 8, lane / 8 % 2);
                    #pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        ldmatrix_x4(b_fragment[1][2 * i], b_fragment[1][2 * i + 1], (from ^ 32) + i * 2048);
                    }
                }
                if (coming < blocks) {
                    const int k_offset = coming * 128;
                    const int k_left = reduction_of_tile - k_offset;
                    {
                        const int piece = thread % 8;
                        const int left = k_left - piece * 16;
                        const e5m2* from = a + (first_row * a_row_stride + int64(k_offset))
                            + (thread / 8 * a_row_stride + piece * 16);
                        const uint32 to = a_tiles + write_slot * 16384 + a_tiles_piece(thread / 8, piece);
                        #pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            const int row = thread / 8 + i * 32;
                            cp_async_16(to + i * 4096, from, row < rows_left ? piece_bytes(left) : 0);
                            from += 32 * a_row_stride;
                        }
                    }
                }
                #pragma unroll
                for (int i = 0; i < 4; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        mma_m16n8k32(block_sums[i][j], a_fragment[0][i], b_fragment[0][j]);
                    }
                }
                {
                    const uint32 from = a_tiles + read_slot * 16384 + a_tiles_piece(warp_m * 64 + lane % 16, lane / 16);
                    #pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        ldmatrix_x4(a_fragment[0][i], (from ^ 64) + i * 2048);
                    }
                }
                {
                    const uint32 from = b_tiles + read_slot * 16384 + b_tiles_piece(warp_n * 32 + lane % 8 + lane / 16 * 8, lane / 8 % 2);
                    #pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        ldmatrix_x4(b_fragment[0][2 * i], b_fragment[0][2 * i + 1], (from ^ 64) + i * 2048);
                    }
                }
                if (coming < blocks) {
                    const int k_offset = coming * 128;
                    const int k_left = reduction_of_tile - k_offset;
                    {
                        const int piece = thread % 8;
                        const int left = k_left - piece * 16;
                        const e4m3* from = b + (int64(group) * b_group_stride + int64(tile_col) * b_row_stride + int64(k_offset))
                            + (thread / 8 * b_row_stride + piece * 16);
                        const uint32 to = b_tiles + write_slot * 16384 + b_tiles_piece(thread / 8, piece);
                        #pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            const int row = thread / 8 + i * 32;
                            cp_async_16(to + i * 4096, from, row < cols_left ? piece_bytes(left) : 0);
                            from += 32 * b_row_stride;
                        }
                    }
                }
                #pragma unroll
                for (int i = 0; i < 4; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        mma_m16n8k32(block_sums[i][j], a_fragment[1][i], b_fragment[1][j]);
                    }
                }
                {
                    const uint32 from = a_tiles + read_slot * 16384 + a_tiles_piece(warp_m * 64 + lane % 16, lane / 16);
                    #pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        ldmatrix_x4(a_fragment[1][i], (from ^ 96) + i * 2048);
                    }
                }
                {
                    const uint32 from = b_tiles + read_slot * 16384 + b_tiles_piece(warp_n * 32 + lane % 8 + lane / 16 * 8, lane / 8 % 2);
                    #pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        ldmatrix_x4(b_fragment[1][2 * i], b_fragment[1][2 * i + 1], (from ^ 96) + i * 2048);
                    }
                }
                #pragma unroll
                for (int i = 0; i < 4; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        mma_m16n8k32(block_sums[i][j], a_fragment[0][i], b_fragment[0][j]);
                    }
                }
                cp_async_commit();
                write_slot = write_slot + 1 == 3 ? 0 : write_slot + 1;
                // The next block has landed for this thread, and after the barrier for all. After the last block,
                // read what was read before rather than a slot that nobody filled.
                cp_async_wait<1>();
                __syncthreads();
                const int current_slot = read_slot;
                read_slot = read_slot + 1 == 3 ? 0 : read_slot + 1;
                const int next_slot = block + 1 < blocks ? read_slot : current_slot;
                {
                    const uint32 from = a_tiles + next_slot * 16384 + a_tiles_piece(warp_m * 64 + lane % 16, lane / 16);
                    #pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        ldmatrix_x4(a_fragment[0][i], from + i * 2048);
                    }
                }
                {
                    const uint32 from = b_tiles + next_slot * 16384 + b_tiles_piece(warp_n * 32 + lane % 8 + lane / 16 * 8, lane / 8 % 2);
                    #pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        ldmatrix_x4(b_fragment[0][2 * i], b_fragment[0][2 * i + 1], from + i * 2048);
                    }
                }
                #pragma unroll
                for (int i = 0; i < 4; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        mma_m16n8k32(block_sums[i][j], a_fragment[1][i], b_fragment[1][j]);
                    }
                }
                #pragma unroll
                for (int i = 0; i < 4; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        sums[i][j][0] = fmaf(block_sums[i][j][0], row_scales[i][0] * col_scales[0][0], sums[i][j][0]);
                        sums[i][j][1] = fmaf(block_sums[i][j][1], row_scales[i][0] * col_scales[0][0], sums[i][j][1]);
                        sums[i][j][2] = fmaf(block_sums[i][j][2], row_scales[i][1] * col_scales[0][0], sums[i][j][2]);
                        sums[i][j][3] = fmaf(block_sums[i][j][3], row_scales[i][1] * col_scales[0][0], sums[i][j][3]);
                    }
                }
            }
            // No warp may still be reading when the next tile's copies start.
            __syncthreads();
        }
        {
            bf16* const to = d + (first_row * d_row_stride + int64(tile_col));
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                #pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int row = warp_m * 64 + i * 16 + half * 8 + lane / 4;
                    #pragma unroll
                    for (int j = 0; j < 1; ++j) {
                        const int col = warp_n * 32 + j * 32 + lane % 4 * 8;
                        uint32 pairs[4];
                        gather_eight<bf16>(pairs, sums[i], 4 * j, half, lane);
                        if (row < rows_left) store_eight(to + row * d_row_stride + col, pairs, cols_left - col);
                    }
                }
            }
        }
        tile = tile + int(gridDim.x);
    }
}
