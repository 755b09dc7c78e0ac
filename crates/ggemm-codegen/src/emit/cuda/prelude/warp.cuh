// ---- the warp: group sizes and lane exchange ----
constexpr uint32 ALL_LANES = 0xffffffffu;

// Entry `index` of an array of int (or of int64), read through the read-only path.
__device__ __forceinline__ int64 load_index(const void* array, int index, bool wide) {
    return wide ? __ldg(static_cast<const int64*>(array) + index)
                : static_cast<int64>(__ldg(static_cast<const int*>(array) + index));
}

// The lowest lane in a mask that is not empty.
__device__ __forceinline__ int first_lane(uint32 mask) { return __ffs(mask) - 1; }

