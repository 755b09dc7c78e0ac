// ---- rounding a patch: its elements times the inverses of their scales ----

// Four elements of a row, or of a column, in a word. Signs are the source's, which a product and a conversion keep of all
// but NaN.
template <typename F, bool OF_COLUMN, typename T, typename S>
__device__ __forceinline__ uint32 quantize_four(const Patch<T>& patch, const S& inverses, int row, int col) {
    float scaled[4];
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int r = row + (OF_COLUMN ? i : 0), c = col + (OF_COLUMN ? 0 : i);
        scaled[i] = element(patch, r, c) * inverses.values[S::of(r, c)];
    }
    const uint32 rounded = round_four(static_cast<F*>(nullptr), scaled);
    const uint32 high = OF_COLUMN ? high_bytes_of_column(patch, row, col) : high_bytes_of_row(patch, row, col);
    return rounded | (high & 0x80808080u);
}

template <typename F, typename T, typename S>
__device__ __forceinline__ uint2 quantize_row(const Patch<T>& patch, const S& inverses, int row) {
    return make_uint2(quantize_four<F, false>(patch, inverses, row, 0), quantize_four<F, false>(patch, inverses, row, 4));
}

// Writes the rounded patch to `to`, of which so many rows and columns (any values) exist. Aligned, rows start at multiples
// of 16 bytes and columns exist 8 at a time. What is stored is the first to leave L2: scales, of which a CTA writes 4 bytes
// of a sector, are to stay until others have written the rest of it.
template <typename F, typename T, typename S>
__device__ __forceinline__ void store_patch(F* to, int64 row_stride, Patch<T>& patch, const S& scales, int thread,
                                            int rows, int cols, bool aligned) {
    keep_packed(patch);
    const S inverses = gather(scales, thread);
    // With one scale for all, a transposed copy has the same words: made all at once, they serve for both.
    constexpr bool at_once = S::COUNT == 1;
    uint2 words[8];
    if (at_once || !aligned) {
        #pragma unroll
        for (int i = 0; i < 8; ++i) words[i] = quantize_row<F>(patch, inverses, i);
    }
    if (aligned) {
        #pragma unroll
        for (int i = 0; i < 8; ++i) {
            if (!at_once) words[i] = quantize_row<F>(patch, inverses, i);
            if (i < rows && cols > 0) __stcs(reinterpret_cast<uint2*>(to), words[i]);
            to += row_stride;
        }
    } else {
        // As they were read: the row in the first place is written, and the others move up.
        #pragma unroll 1
        for (int i = 0; i < 8; ++i) {
            #pragma unroll
            for (int j = 0; j < 8; ++j) {
                const uint32 word = j < 4 ? words[0].x : words[0].y;
                if (i < rows && j < cols) to[j].bits = static_cast<unsigned char>(word >> j % 4 * 8);
            }
            #pragma unroll
            for (int place = 0; place < 7; ++place) words[place] = words[place + 1];
            to += row_stride;
        }
    }
}

