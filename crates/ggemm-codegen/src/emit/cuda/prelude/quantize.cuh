// ---- rounding a patch: its elements times the inverses of their scales ----

// Four elements in a word: STEP_ROW, STEP_COL lead from one to the next. Signs are the source's, which a product and a
// conversion keep of all but NaN.
template <typename F, int STEP_ROW, int STEP_COL, typename T, typename S>
__device__ __forceinline__ uint32 quantize_four(const Patch<T>& patch, const S& inverses, int row, int col) {
    float scaled[4];
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int r = row + i * STEP_ROW, c = col + i * STEP_COL;
        scaled[i] = element(patch, r, c) * inverses.values[S::of(r, c)];
    }
    const uint32 rounded = round_four(static_cast<F*>(nullptr), scaled);
    return (rounded & 0x7f7f7f7fu) | (high_bytes<STEP_ROW, STEP_COL>(patch, row, col) & 0x80808080u);
}

// Writes the rounded patch to `to`, of which so many rows and columns (any values) exist. Aligned, rows start at multiples
// of 16 bytes and columns exist 8 at a time.
template <typename F, typename T, typename S>
__device__ __forceinline__ void store_patch(F* to, int64 row_stride, Patch<T>& patch, const S& inverses, int rows, int cols,
                                            bool aligned) {
    keep_packed(patch);
    #pragma unroll
    for (int i = 0; i < 8; ++i) {
        const uint32 words[2] = {quantize_four<F, 0, 1>(patch, inverses, i, 0),
                                 quantize_four<F, 0, 1>(patch, inverses, i, 4)};
        F* const row = to + i * row_stride;
        if (aligned) {
            if (i < rows && cols > 0) *reinterpret_cast<uint2*>(row) = make_uint2(words[0], words[1]);
        } else {
            #pragma unroll
            for (int j = 0; j < 8; ++j) {
                if (i < rows && j < cols) row[j].bits = static_cast<unsigned char>(words[j / 4] >> j % 4 * 8);
            }
        }
    }
}

