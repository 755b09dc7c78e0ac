//! The emitted text, for reading (`INSTA_UPDATE=always` accepts a change that was read).

use ggemm_codegen::QuantizeSpec;
use ggemm_codegen::emit::cuda;
use ggemm_codegen::kernels::quantize::build;

/// What each shows stands in its name.
const SHOWN: [&str; 5] = [
    "ggemm_quantize_bf16_e4m3_block_rows_sm89",
    "ggemm_quantize_bf16_e4m3_block_ragged_rows_colst_sm89",
    "ggemm_quantize_f16_e5m2_block_blocks_blockst_sm89",
    "ggemm_quantize_f32_e4m3_row_ragged_colst_sm89",
    "ggemm_quantize_bf16_e5m2_row_rows_w8_c8_sm90a",
];

#[test]
fn emitted_kernels() {
    for name in SHOWN {
        let spec: QuantizeSpec = name.parse().unwrap();
        let text = cuda::emit(&build(&spec)).text();
        insta::with_settings!({ prepend_module_to_snapshot => false }, {
            insta::assert_binary_snapshot!(&format!("{name}.cu"), text.into_bytes());
        });
    }
}

#[test]
fn contract() {
    let spec: QuantizeSpec = SHOWN[1].parse().unwrap();
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("contract", serde_json::to_string_pretty(&build(&spec).contract).unwrap());
    });
}
