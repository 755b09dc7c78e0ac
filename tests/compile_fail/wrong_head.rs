ggemm::kernels! {
    pub struct experts {}
}

ggemm::kernels! {
    pub mod experts;
}

ggemm::kernels! {
    mod one { ops: [forward], dtypes: [bf16], arch: [sm_80] }
    mod two { ops: [forward], dtypes: [bf16], arch: [sm_80] }
}

ggemm::kernels! {}

fn main() {}
