// ---- rows of 32 f32, written to where they may start anywhere: one a lane, of which `left` (any value) exist ----
__device__ __forceinline__ void store_row(float* to, uint32 word, int lane, int left) {
    if (lane < left) to[lane] = __uint_as_float(word);
}

// Added to what is there, without waiting for it.
__device__ __forceinline__ void add_row(float* to, uint32 word, int lane, int left) {
    if (lane < left) atomicAdd(to + lane, __uint_as_float(word));
}

