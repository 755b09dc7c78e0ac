// Uses of a module that could not be made are not reported on top.
ggemm::kernels! {
    pub mod experts { ops: [forwards], dtypes: [bf16], arch: [sm_80] }
}

fn main() {
    for kernel in experts::KERNELS {
        println!("{}", kernel.name);
    }
}
