ggemm::kernels! {
    pub mod experts {
        ops: [forward],
    }
}

ggemm::kernels! {
    pub mod with_a_shape {
        ops: [forward],
        dtypes: [bf16],
        arch: [sm_80],
        shape: { n: 1536 },
    }
}

fn main() {}
