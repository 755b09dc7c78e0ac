// ---- staging: pieces of 4 elements of 4 bytes, from any address of global memory to shared memory ----

// A thread's pieces of a block on their way: PANELS of each row, of rows that are a multiple of 8 apart, so that all begin
// at the same offset from 16 bytes. Global memory is read 16 aligned bytes at a time, a piece from the one or two that hold
// it, and kept as it lies there until it is stored: many loads are in flight at once.
template <typename T, int COUNT, int PANELS, int ROWS_AT_ONCE>
struct Staged {
    const char* from;     // the aligned bytes of the next row's first piece
    int64 step;           // bytes to the thread's next row
    uint32 offset;        // bytes from there to the first element
    int rows, cols;       // that exist from the thread's first element on (any value)
    uint4 low[COUNT];
    uint4 high[COUNT];
};

// The thread's first element is `from`.
template <typename T, int COUNT, int PANELS, int ROWS_AT_ONCE>
__device__ __forceinline__ void begin_pieces(Staged<T, COUNT, PANELS, ROWS_AT_ONCE>& staged, const T* from,
                                             int64 row_stride, int rows, int cols) {
    staged.offset = reinterpret_cast<unsigned long long>(from) % 16;
    staged.from = reinterpret_cast<const char*>(from) - staged.offset;
    staged.step = ROWS_AT_ONCE * 4 * row_stride;
    staged.rows = rows;
    staged.cols = cols;
}

// Reads pieces FIRST to END, after those before them: the aligned bytes that hold what exists, and none that hold nothing
// of it.
template <int FIRST, int END, typename T, int COUNT, int PANELS, int ROWS_AT_ONCE>
__device__ __forceinline__ void load_pieces(Staged<T, COUNT, PANELS, ROWS_AT_ONCE>& staged) {
    #pragma unroll
    for (int i = FIRST; i < END; ++i) {
        const int row = i / PANELS * ROWS_AT_ONCE, panel = i % PANELS;
        const int left = row < staged.rows ? min_of(staged.cols - panel * 32, 4) : 0;
        const char* const from = staged.from + panel * 128;
        load_aligned(staged.low[i], from, left > 0);
        load_aligned(staged.high[i], from + 16, left > 0 && int(staged.offset) + 4 * left > 16);
        if (panel == PANELS - 1) staged.from += staged.step;
    }
}

// Writes pieces FIRST to END, zeros for what does not exist; `to` is the place of the first piece of all, from which
// panels and the thread's rows are so many bytes apart.
template <int FIRST, int END, typename T, int COUNT, int PANELS, int ROWS_AT_ONCE>
__device__ __forceinline__ void store_pieces(uint32 to, int panel_bytes, int row_bytes,
                                             const Staged<T, COUNT, PANELS, ROWS_AT_ONCE>& staged) {
    // Five words from the first or the third on; of these, four from the first or the second on.
    const bool third = staged.offset & 8, second = staged.offset & 4;
    #pragma unroll
    for (int i = FIRST; i < END; ++i) {
        const uint4 low = staged.low[i], high = staged.high[i];
        const uint32 five[5] = {third ? low.z : low.x, third ? low.w : low.y, third ? high.x : low.z,
                                third ? high.y : low.w, third ? high.z : high.x};
        uint32 piece[4];
        #pragma unroll
        for (int j = 0; j < 4; ++j) {
            const uint32 word = second ? five[j + 1] : five[j];
            piece[j] = staged.cols - i % PANELS * 32 - j > 0 ? word : 0;
        }
        asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to + i % PANELS * panel_bytes
                                                                      + i / PANELS * row_bytes),
                     "r"(piece[0]), "r"(piece[1]), "r"(piece[2]), "r"(piece[3])
                     : "memory");
    }
}

