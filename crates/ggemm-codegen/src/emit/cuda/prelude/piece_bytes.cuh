// Bytes of a 16-byte piece of 2-byte elements of which `left` remain (any value).
__device__ __forceinline__ int piece_bytes(int left) { return min_of(max_of(left, 0), 8) * 2; }

