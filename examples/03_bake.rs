//! Bakes the kernels of one model's projection into this program and looks at them: names, launch contracts and CUDA
//! text are there without a compiler, a GPU or a network.
//!
//! `cargo run --example 03_bake`

ggemm::kernels! {
    /// The expert projections of one model: N = 1536, K = 2048.
    pub mod experts {
        ops: [forward, grad_x, grad_w],
        dtypes: [bf16],
        arch: [sm_80, sm_90a],
        shape: { n: 1536, k: 2048 },
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for kernel in experts::KERNELS {
        let contract = kernel.contract()?;
        let lines = kernel.source().lines().count();
        println!(
            "{:96} {:4} threads, {:6} bytes shared, {lines} lines",
            kernel.name, contract.threads, contract.shared_bytes
        );
    }
    Ok(())
}
