ggemm::kernels! {
    pub mod experts {
        arch: [sm_89, sm_120a],
        tiles: auto,
        specs: [
            "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s2_multistage_cpasync_evenk",
            "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s4_multistage_cpasync_evenk",
            "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128_w2x2_s4_multistage_cpasync",
            ggemm,
        ],
    }
}

fn main() {}
