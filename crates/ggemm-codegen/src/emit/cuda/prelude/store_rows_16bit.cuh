// ---- rows of 64 elements of 2 bytes, written to where they may start anywhere: two elements a lane ----

// What a lane writes of rows that start at one parity. Two elements are written together where their address is a multiple
// of 4: from the row's first element on or, where that lies at an odd place, from its second on.
struct RowPart {
    char* at;          // the first of the two, in the next row
    uint32 shift;      // of them against the word of the lane: 16 bits or none
    bool pair, last;   // both exist, or the first alone
    bool head;         // the row's first element is no lane's: the last lane, whose pair goes round, writes it
};

// Every second row starts at the same parity.
struct RowParts {
    RowPart of[2];
    int64 step;        // bytes to the row after the next
};

// `left` (any value) elements of a row exist.
template <typename T>
__device__ __forceinline__ RowParts parts_of_rows(T* to, int64 stride, int lane, int left) {
    RowParts parts;
    parts.step = 4 * stride;
    #pragma unroll
    for (int i = 0; i < 2; ++i) {
        T* const row = to + i * stride;
        const int odd = reinterpret_cast<unsigned long long>(row) / 2 % 2, first = 2 * lane + odd;
        parts.of[i] = {reinterpret_cast<char*>(row + first), 16u * odd, first + 1 < min_of(left, 64),
                       first + 1 == min_of(left, 64), odd == 1 && lane == 31 && left > 0};
    }
    return parts;
}

// Writes so many `rows` (any value) of COUNT, an even number. What exists is asked of each store alone: with a branch
// around a row's, rows would not go side by side.
template <int COUNT>
__device__ __forceinline__ void store_rows(RowParts& parts, const uint32 (&words)[COUNT], int rows, int lane) {
    #pragma unroll
    for (int i = 0; i < COUNT; ++i) {
        RowPart& part = parts.of[i % 2];
        const bool exists = i < rows;
        const uint32 next = __shfl_sync(ALL_LANES, words[i], lane + 1);
        const uint32 pair = __funnelshift_r(words[i], next, part.shift);
        if (part.pair & exists) *reinterpret_cast<uint32*>(part.at) = pair;
        if (part.last & exists) *reinterpret_cast<uint16*>(part.at) = static_cast<uint16>(pair);
        if (part.head & exists) *reinterpret_cast<uint16*>(part.at - 126) = static_cast<uint16>(pair >> 16);
        part.at += parts.step;
    }
}

