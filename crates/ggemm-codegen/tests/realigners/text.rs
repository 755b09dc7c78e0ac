//! The emitted text, for reading (`INSTA_UPDATE=always` accepts a change that was read).

use ggemm_codegen::RealignSpec;
use ggemm_codegen::emit::cuda;
use ggemm_codegen::kernels::realign::build;

const SHOWN: &str = "ggemm_realign_bf16_sm90a";

#[test]
fn emitted_kernel() {
    let spec: RealignSpec = SHOWN.parse().unwrap();
    let text = cuda::emit(&build(&spec)).text();
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_binary_snapshot!(&format!("{SHOWN}.cu"), text.into_bytes());
    });
}

#[test]
fn contract() {
    let spec: RealignSpec = SHOWN.parse().unwrap();
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("contract", serde_json::to_string_pretty(&build(&spec).contract).unwrap());
    });
}
