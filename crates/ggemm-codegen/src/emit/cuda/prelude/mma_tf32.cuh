// ---- mma.sync: d[16, 8] += a[16, 8] · b[8, 8] in TF32, summed in f32 ----

// Rounds the f32 in each register to the nearest that has 10 bits of fraction, ties away from zero.
template <int N>
__device__ __forceinline__ void round_to_tf32(uint32 (&x)[N]) {
    #pragma unroll
    for (int i = 0; i < N; ++i) {
        asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(x[i]) : "f"(__uint_as_float(x[i])));
    }
}

__device__ __forceinline__ void mma_m16n8k8(float (&d)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

