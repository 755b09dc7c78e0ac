const HIDDEN: usize = 2048;

ggemm::kernels! {
    pub mod by_name {
        ops: [forward],
        dtypes: [bf16],
        arch: [sm_80],
        shape: { n: 1536, k: HIDDEN },
    }
}

ggemm::kernels! {
    pub mod empty {
        ops: [forward],
        dtypes: [bf16],
        arch: [sm_80],
        shape: { n: 0, k: 2048, m: 1 },
    }
}

ggemm::kernels! {
    pub mod huge {
        ops: [forward],
        dtypes: [bf16],
        arch: [sm_80],
        shape: { n: 4_294_967_296, k: 2048 },
    }
}

fn main() {
    assert_eq!(HIDDEN, 2048);
}
