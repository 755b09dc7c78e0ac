//! The text of the small kernels, to be read, and compiled by `cargo xtask check-cubins`.

use ggemm_codegen::Dtype;
use ggemm_codegen::emit::cuda;

use crate::kernels::{self, Gemm};

/// A tile as large as those that will ship.
pub(crate) const LARGE: Gemm = Gemm {
    name: "hopper_gemm",
    blocks: 1,
    n: 256,
    stages: 3,
    warpgroups: 2,
    registers: Some((40, 232)),
    ..Gemm::SMALL
};

#[test]
fn dump() {
    let dir = std::env::var("HOPPER_DUMP").unwrap_or_default();
    if dir.is_empty() {
        return;
    }
    let mut all = vec![kernels::ragged_rows(&LARGE), kernels::dynamic_copy()];
    all.push(kernels::ragged_rows(&Gemm { name: "cluster", cluster: 2, ..LARGE }));
    all.push(kernels::ragged_reduction(&Gemm { name: "reduction", n: 128, output: Dtype::F32, add: true, ..LARGE }));
    all.extend(crate::ground::subjects().into_iter().map(|s| s.kernel));
    for (i, k) in all.iter().enumerate() {
        std::fs::write(format!("{dir}/{i}_{}.cu", k.contract.name), cuda::emit(k).text()).unwrap();
    }
}
