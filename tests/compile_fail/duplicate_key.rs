ggemm::kernels! {
    pub mod experts {
        ops: [forward],
        dtypes: [bf16],
        ops: [grad_w],
        arch: [sm_80, sm_80],
    }
}

fn main() {}
