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

