ggemm::kernels! {
    pub mod experts {
        op: [forward],
        dtypes: [bf16],
        archs: [sm_80],
        colour: [red],
    }
}

fn main() {}
