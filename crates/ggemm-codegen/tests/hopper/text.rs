//! The text of the kernels, to be read; `cargo xtask check-cubins` compiles it.

use ggemm_codegen::emit::cuda;
use ggemm_codegen::ir::Kernel;
use ggemm_codegen::{Dtype, Major};

use crate::kernels::{self, Gemm};

/// A tile as large as those that will ship.
const LARGE: Gemm = Gemm {
    name: "hopper_rows_128x256x64",
    n: 256,
    stages: 3,
    warpgroups: 2,
    registers: Some((40, 232)),
    ..Gemm::SMALL
};

fn shown() -> Vec<Kernel> {
    vec![
        kernels::ragged_rows(&LARGE),
        kernels::ragged_rows(&Gemm {
            name: "hopper_rows_128x128x64_cluster2_bn_f32",
            n: 128,
            cluster: 2,
            b_major: Major::Mn,
            output: Dtype::F32,
            ..LARGE
        }),
        kernels::ragged_reduction(&Gemm {
            name: "hopper_reduction_256x128x64_add",
            blocks: 2,
            n: 128,
            stages: 2,
            output: Dtype::F32,
            add: true,
            ..LARGE
        }),
        kernels::ragged_rows(&Gemm { name: "hopper_pingpong_64x256x64", pingpong: true, ..LARGE }),
        kernels::swapped_rows(&Gemm { name: "hopper_swapped_128x176x64", n: 176, stages: 4, ..LARGE }),
        kernels::swapped_rows(&Gemm { name: "hopper_swapped_128x8x64", n: 8, stages: 4, ..LARGE }),
        kernels::dynamic_copy(),
    ]
}

#[test]
fn texts() {
    for kernel in shown() {
        let text = cuda::emit(&kernel).text();
        assert_eq!(text, cuda::emit(&kernel).text(), "the text is a function of the kernel");
        insta::assert_binary_snapshot!(&format!("{}.cu", kernel.contract.name), text.into_bytes());
    }
}

#[test]
fn contracts_say_what_the_host_encodes() {
    let contract = kernels::ragged_rows(&LARGE).contract;
    let json = serde_json::to_string(&contract).unwrap();
    assert_eq!(serde_json::from_str::<ggemm_codegen::Contract>(&json).unwrap(), contract);
    insta::assert_snapshot!(serde_json::to_string_pretty(&contract).unwrap());
}

/// What one iteration of the main loop does is read off both roles.
#[test]
fn work_is_that_of_both_roles() {
    let work = kernels::ragged_rows(&LARGE).contract.work;
    assert_eq!(work.multiply_adds, 128 * 256 * 64);
    assert_eq!(work.global_bytes, (128 + 256) * 64 * 2);
}
