// ggemm_realign_bf16_sm90a
//
// matrices of bf16 with rows anywhere, copied to rows at multiples of 16 bytes
// 256 threads a CTA, 0 bytes of shared memory, rows aligned to 2 bytes.
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

// ---- rows that start anywhere, copied to rows that start at multiples of 16 bytes: elements of 2 bytes ----

// The 16 bytes that start so many bytes (below 16) after the first of `low`.
__device__ __forceinline__ uint4 bytes_from(const uint4& low, const uint4& high, uint32 offset) {
    // Six words from the first or the third on; of these, five from the first or the second on.
    const bool third = offset & 8, second = offset & 4;
    const uint32 six[6] = {third ? low.z : low.x,  third ? low.w : low.y,  third ? high.x : low.z,
                           third ? high.y : low.w, third ? high.z : high.x, third ? high.w : high.y};
    uint32 words[4];
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
        const uint32 word = second ? six[i + 1] : six[i], next = second ? six[i + 2] : six[i + 1];
        words[i] = __funnelshift_r(word, next, offset % 4 * 8);
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

// Copies a piece of 8 elements of each of the thread's COUNT rows, which are STEP apart: a multiple of 8, so that all start
// at the same offset from 16 bytes. So many rows and columns (any values) exist from the first on. All are read before any
// is written: many loads are in flight at once.
template <int COUNT, int STEP, typename T>
__device__ __forceinline__ void realign(T* to, int64 to_stride, const T* from, int64 from_stride, int rows, int cols) {
    const uint32 offset = reinterpret_cast<unsigned long long>(from) % 16;
    const char* aligned = reinterpret_cast<const char*>(from) - offset;
    uint4 low[COUNT], high[COUNT];
    #pragma unroll
    for (int i = 0; i < COUNT; ++i) {
        const int left = i * STEP < rows ? min_of(cols, 8) : 0;
        load_aligned(low[i], aligned, left > 0);
        load_aligned(high[i], aligned + 16, left > 0 && int(offset) + 2 * left > 16);
        aligned += STEP * 2 * from_stride;
    }
    #pragma unroll
    for (int i = 0; i < COUNT; ++i) {
        if (i * STEP < rows && cols > 0) *reinterpret_cast<uint4*>(to) = bytes_from(low[i], high[i], offset);
        to += STEP * to_stride;
    }
}

extern "C" __global__ void __launch_bounds__(256, 4)
ggemm_realign_bf16_sm90a(
    const bf16* __restrict__ source,
    bf16* __restrict__ copy,
    const void* __restrict__ groups,
    const int group_count,
    const bool groups_are_ends,
    const bool groups_are_i64,
    const bool skip_empty,
    const int matrices,
    const int rows,
    const int cols,
    const int64 source_row_stride,
    const int64 source_group_stride,
    const int64 copy_row_stride,
    const int64 copy_group_stride)
{
    const int thread = threadIdx.x;
    __builtin_assume(0 <= thread && thread < 256);
    const int lane = thread % 32;


    const int col_blocks = ceil_div(cols, 256);
    const int blocks_of_each = ceil_div(rows, 32) * col_blocks;
    int block = int(blockIdx.x);
    while (true) {
        if (block >= matrices * blocks_of_each) break;
        const int matrix = block / blocks_of_each;
        const int block_of_matrix = block - matrix * blocks_of_each;
        const int first_row = block_of_matrix / col_blocks * 32;
        const int first_col = (block_of_matrix - block_of_matrix / col_blocks * col_blocks) * 256;
        // The second lane has the group's entry, the first the one before, which ends are held against.
        const int64 entry = skip_empty && (lane == 1 || (lane == 0 && groups_are_ends && 0 < matrix)) ? load_index(groups, matrix - 1 + lane, groups_are_i64) : 0LL;
        const int64 entry_before = __shfl_up_sync(ALL_LANES, entry, 1);
        const uint32 has_rows = __ballot_sync(ALL_LANES, lane == 1 && entry_before < entry);
        const bool is_read = !(has_rows == 0u) || !skip_empty;
        if (is_read) {
            {
                const int row = thread / 32, col = lane * 8;
                const bf16* const from = source + (int64(matrix) * source_group_stride + int64(first_row) * source_row_stride + int64(first_col))
                    + (row * source_row_stride + col);
                bf16* const to = copy + (int64(matrix) * copy_group_stride + int64(first_row) * copy_row_stride + int64(first_col))
                    + (row * copy_row_stride + col);
                realign<4, 8>(to, copy_row_stride, from, source_row_stride, rows - first_row - row, cols - first_col - col);
            }
        }
        block = block + int(gridDim.x);
    }
}
