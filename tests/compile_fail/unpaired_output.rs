ggemm::kernels! {
    pub mod experts {
        ops: [forward],
        dtypes: [bf16],
        outputs: [bf16, f16],
        arch: [sm_80],
    }
}

ggemm::kernels! {
    pub mod halves {
        ops: [forward],
        dtypes: [bf16, f16],
        outputs: [bf16],
        arch: [sm_80],
    }
}

fn main() {}
