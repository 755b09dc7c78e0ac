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

