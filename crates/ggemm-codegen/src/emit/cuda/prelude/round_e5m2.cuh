// ---- e5m2, at most 57344 ----
struct e5m2 {
    unsigned char bits;
    static constexpr float LARGEST = 57344.0f;
};

// Four values in a word, the first in its low byte: to the nearest (ties to even); what is too large, infinities
// included, to the largest. NaN becomes 0x7f.
__device__ __forceinline__ uint32 round_four(e5m2*, const float (&x)[4]) {
    uint32 word;
    asm("{\n"
        ".reg .b16 low, high;\n"
        "cvt.rn.satfinite.e5m2x2.f32 low, %2, %1;\n"
        "cvt.rn.satfinite.e5m2x2.f32 high, %4, %3;\n"
        "mov.b32 %0, {low, high};\n"
        "}"
        : "=r"(word)
        : "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]));
    return word;
}

