// ---- rows of 32 f32, written to where they may start anywhere: one a lane ----
struct RowParts {
    float* at;       // the lane's element in the next row
    int64 stride;
    bool exists;
};

// `left` (any value) elements of a row exist.
__device__ __forceinline__ RowParts parts_of_rows(float* to, int64 stride, int lane, int left) {
    return {to + lane, stride, lane < left};
}

// Writes so many `rows` (any value) of COUNT.
template <int COUNT>
__device__ __forceinline__ void store_rows(RowParts& parts, const uint32 (&words)[COUNT], int rows, int) {
    #pragma unroll
    for (int i = 0; i < COUNT; ++i) {
        if (parts.exists & (i < rows)) *parts.at = __uint_as_float(words[i]);
        parts.at += parts.stride;
    }
}

// Adds them to what is there, without waiting for it.
template <int COUNT>
__device__ __forceinline__ void add_rows(RowParts& parts, const uint32 (&words)[COUNT], int rows, int) {
    #pragma unroll
    for (int i = 0; i < COUNT; ++i) {
        if (parts.exists & (i < rows)) atomicAdd(parts.at, __uint_as_float(words[i]));
        parts.at += parts.stride;
    }
}

