// dynamic_copy
//
// d = a, tile by tile from one counter
// 64 threads a CTA, 1096 bytes of shared memory, rows aligned to 16 bytes.
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

extern "C" __global__ void __launch_bounds__(64, 1)
dynamic_copy(
    const __grid_constant__ TensorMap a,
    const __grid_constant__ TensorMap d,
    const int rows,
    int* __restrict__ counter)
{
    const int lane = int(threadIdx.x) % 32;
    const int warp = warp_index();

    extern __shared__ __align__(1024) unsigned char shared_memory[];
    const uint32 tiles = shared_address(shared_memory);  // 1 x 1024 bytes
    const uint32 numbers = shared_address(shared_memory) + 1024;  // 2 x 16 bytes
    const uint32 arrived = shared_address(shared_memory) + 1056;  // 1 barriers of 1 arrivals
    const uint32 number_full = shared_address(shared_memory) + 1064;  // 2 barriers of 1 arrivals
    const uint32 number_empty = shared_address(shared_memory) + 1080;  // 2 barriers of 1 arrivals


    if (warp == 0) {
        __syncwarp();
        if (elect_one()) {
            mbarrier_init(arrived, 1);
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                mbarrier_init(number_full + i * 8, 1);
            }
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                mbarrier_init(number_empty + i * 8, 1);
            }
            mbarrier_init_fence();
        }
        __syncwarp();
    }
    __syncthreads();
    await_grid();
    launch_dependents();
    const int count = ceil_div(rows, 8);
    // scheduler: warp 0
    if (warp == 0) {
        int slot = 0;
        int parity = 1;
        while (true) {
            const int taken = lane == 0 ? fetch_add_relaxed_gpu(counter + 0, 1) : 0;
            const int number = __shfl_sync(ALL_LANES, taken, 0);
            const int number_of_tile = number;
            mbarrier_wait(number_empty + slot * 8, parity);
            __syncwarp();
            if (elect_one()) {
                write_word(numbers + slot * 16, number_of_tile);
                mbarrier_arrive(number_full + slot * 8);
            }
            __syncwarp();
            parity = slot == 1 ? 1 - parity : parity;
            slot = slot == 1 ? 0 : 1;
            if (count <= number_of_tile) break;
        }
        // The last CTA sets the counter back for the next launch.
        const int ended_before = lane == 0 ? fetch_add_ordered_gpu(counter + 1, 1) : 0;
        const int count_2 = lane == 0 && ended_before + 1 == int(gridDim.x) ? fetch_add_ordered_gpu(counter + 0, 0) : 0;
        const int count_again = lane == 0 && ended_before + 1 == int(gridDim.x) ? fetch_add_ordered_gpu(counter + 0, count_2 * -1) : 0;
        const int ended = lane == 0 && ended_before + 1 == int(gridDim.x) ? fetch_add_ordered_gpu(counter + 1, int(gridDim.x) * -1) : 0;
    }
    // copier: warp 1
    else if (warp == 1) {
        int slot = 0;
        int parity = 0;
        int loaded = 0;
        while (true) {
            mbarrier_wait(number_full + slot * 8, parity);
            const int number = read_word(numbers + slot * 16);
            __syncwarp();
            if (elect_one()) {
                mbarrier_arrive(number_empty + slot * 8);
            }
            __syncwarp();
            parity = slot == 1 ? 1 - parity : parity;
            slot = slot == 1 ? 0 : 1;
            if (count <= number) break;
            __syncwarp();
            if (elect_one()) {
                tma_wait_reads<0>();
                mbarrier_arrive_expect(arrived, 1024);
                tma_load(tiles, a, arrived, 0, number * 8);
            }
            __syncwarp();
            mbarrier_wait(arrived, loaded);
            loaded = 1 - loaded;
            __syncwarp();
            if (elect_one()) {
                tma_store(tiles, d, 0, number * 8);
                tma_commit();
            }
            __syncwarp();
        }
        __syncwarp();
        if (elect_one()) {
            tma_wait<0>();
        }
        __syncwarp();
    }
}
