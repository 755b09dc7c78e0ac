//! The kernels that faults are planted into: the smallest tiles that show each family, copy path and feature.

use crate::constraints::ValidSpec;
use crate::spec::{KernelSpec, Ragged};

/// A variant, with what it is there to show.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// The feature, as tables name it.
    pub feature: &'static str,
    /// The variant.
    pub spec: ValidSpec,
}

impl Subject {
    /// The family's name: `rows` or `reduction`.
    pub fn family(&self) -> &'static str {
        match self.spec.ragged {
            Ragged::Rows => "rows",
            Ragged::Reduction => "reduction",
        }
    }
}

/// Two warps each, so that a warp can overtake another; four k16 steps where the order of steps is the feature. One is as wide
/// as those must be that promote some columns after others.
const SUBJECTS: [(&str, &str); 50] = [
    ("cp.async, 2 stages", "rows_ak_bk_bf16_f32_bf16_sm80_16x64x32_w1x2_s2_multistage_cpasync"),
    ("cp.async, 3 stages", "rows_ak_bk_f16_f32_f32_sm80_16x32x32_w1x2_s3_multistage_cpasync"),
    ("cp.async, 4 steps", "rows_ak_bk_bf16_f32_bf16_sm80_32x32x64_w2x1_s2_multistage_cpasync"),
    ("cp.async, even K", "rows_ak_bk_bf16_f32_bf16_sm80_16x32x32_w1x2_s2_multistage_cpasync_evenk"),
    ("cp.async, even K, 3 stages", "rows_ak_bn_bf16_f32_bf16_sm80_16x64x32_w1x2_s3_multistage_cpasync_evenk"),
    ("cp.async, B along N", "rows_ak_bn_bf16_f32_bf16_sm80_16x64x32_w1x2_s2_multistage_cpasync"),
    ("plain", "rows_ak_bk_bf16_f32_f32_sm80_16x32x32_w1x2_s2_multistage_plain"),
    ("plain, B along N", "rows_ak_bn_f16_f32_f16_sm80_16x64x32_w1x2_s2_multistage_plain"),
    ("cp.async, 2 stages", "reduction_am_bn_bf16_f32_f32_sm80_64x64x32_w2x1_s2_multistage_cpasync"),
    ("cp.async, 3 stages", "reduction_am_bn_bf16_f32_bf16_sm80_64x64x32_w1x2_s3_multistage_cpasync"),
    ("plain", "reduction_am_bn_bf16_f32_f32_sm80_64x64x32_w1x2_s2_multistage_plain"),
    ("plain, 4 steps", "reduction_am_bn_f16_f32_f16_sm80_64x64x64_w2x2_s2_multistage_plain"),
    ("cp.async, fp8 in rows", "rows_ak_bk_e5m2xe4m3_f32_bf16_sm89_16x32x64_w1x2_s2_multistage_cpasync_row"),
    ("cp.async, fp8 in blocks", "rows_ak_bk_e4m3_f32_f32_sm89_32x32x128_w2x1_s2_multistage_cpasync_block_promoted"),
    (
        "cp.async, fp8 in rows, promoted",
        "reduction_ak_bk_e4m3xe5m2_f32_bf16_sm89_32x32x128_w2x1_s3_multistage_cpasync_row_promoted",
    ),
    (
        "cp.async, fp8 in blocks",
        "reduction_ak_bk_e4m3_f32_f32_sm89_32x32x128_w1x2_s2_multistage_cpasync_block_promoted",
    ),
    ("cp.async, f32", "rows_ak_bk_f32_f32_f32_sm80_16x32x16_w1x2_s2_multistage_cpasync"),
    ("cp.async, f32, B along N", "rows_ak_bn_f32_f32_bf16_sm80_16x64x32_w1x2_s3_multistage_cpasync"),
    ("cp.async, f32", "reduction_am_bn_f32_f32_f32_sm80_64x64x16_w2x1_s2_multistage_cpasync"),
    ("plain, f32", "reduction_am_bn_f32_f32_f32_sm80_64x64x16_w1x2_s2_multistage_plain"),
    ("TMA, in turns", "rows_ak_bk_bf16_f32_bf16_sm90a_64x64x64_w4x1_s2_pingpong_tma"),
    ("TMA, in turns by number", "rows_ak_bn_f16_f32_f32_sm90a_64x64x64_w4x1_s3_pingpong_tma_dynamic"),
    ("TMA, together by number", "rows_ak_bk_bf16_f32_f32_sm90a_128x64x64_w8x1_s3_cooperative_tma_dynamic"),
    ("TMA, pairs along M", "rows_ak_bn_bf16_f32_bf16_sm90a_128x64x64_w8x1_s2_cooperative_tma_c2x1"),
    ("TMA, pairs along N", "rows_ak_bk_f16_f32_f16_sm90a_64x64x64_w4x1_s2_pingpong_tma_c1x2"),
    ("TMA, swapped, together", "rows_ak_bk_bf16_f32_bf16_sm90a_16x128x64_w1x8_s2_cooperative_tma_swapped"),
    ("TMA, swapped, in turns by number", "rows_ak_bn_f16_f32_f32_sm90a_32x64x64_w1x4_s3_pingpong_tma_dynamic_swapped"),
    ("TMA, split, in turns", "rows_ak_bk_bf16_f32_f32_sm90a_64x64x64_w4x1_s2_pingpong_tma_split2"),
    ("TMA, stream-K, in turns", "rows_ak_bk_bf16_f32_f32_sm90a_64x64x64_w4x1_s2_pingpong_tma_dynamic_streamk"),
    ("TMA, D by threads, in turns", "rows_ak_bk_bf16_f32_bf16_sm90a_64x64x64_w4x1_s2_pingpong_tma_dthreads"),
    (
        "TMA, D by threads, together by number",
        "rows_ak_bn_f16_f32_f32_sm90a_128x64x64_w8x1_s3_cooperative_tma_dynamic_dthreads",
    ),
    ("TMA, D by threads, in turns", "reduction_am_bn_bf16_f32_f32_sm90a_64x64x64_w4x1_s2_pingpong_tma_dthreads"),
    (
        "TMA, D by threads, together by number",
        "reduction_am_bn_f16_f32_f16_sm90a_128x64x64_w8x1_s2_cooperative_tma_dynamic_dthreads",
    ),
    ("threads, in turns", "rows_ak_bn_f16_f32_f16_sm90a_64x64x64_w4x1_s2_pingpong_plain"),
    ("threads, together by number", "rows_ak_bk_bf16_f32_f32_sm90a_128x64x64_w8x1_s3_cooperative_plain_dynamic"),
    ("TMA, in turns", "reduction_am_bn_bf16_f32_f32_sm90a_64x64x64_w4x1_s3_pingpong_tma"),
    ("TMA, together by number", "reduction_am_bn_bf16_f32_bf16_sm90a_128x64x64_w8x1_s2_cooperative_tma_dynamic"),
    ("TMA, pairs along M", "reduction_am_bn_f16_f32_f16_sm90a_64x64x64_w4x1_s2_pingpong_tma_c2x1"),
    ("TMA, pairs along N", "reduction_am_bn_bf16_f32_f32_sm90a_128x64x64_w8x1_s2_cooperative_tma_c1x2"),
    ("TMA, split, together", "reduction_am_bn_bf16_f32_bf16_sm90a_128x64x64_w8x1_s2_cooperative_tma_split4"),
    ("TMA, stream-K, together", "reduction_am_bn_bf16_f32_bf16_sm90a_128x64x64_w8x1_s2_cooperative_tma_streamk"),
    ("threads, in turns by number", "reduction_am_bn_bf16_f32_f32_sm90a_64x64x64_w4x1_s2_pingpong_plain_dynamic"),
    ("threads, together", "reduction_am_bn_f16_f32_f16_sm90a_128x64x64_w8x1_s2_cooperative_plain"),
    ("fp8 in rows", "rows_ak_bk_e5m2xe4m3_f32_bf16_sm90a_64x64x128_w4x1_s2_pingpong_tma_row"),
    ("fp8 in blocks", "rows_ak_bk_e4m3_f32_f32_sm90a_64x64x128_w4x1_s2_pingpong_tma_block_promoted"),
    ("fp8 in rows, promoted", "reduction_ak_bk_e4m3xe5m2_f32_bf16_sm90a_64x64x128_w4x1_s2_pingpong_tma_row_promoted"),
    (
        "fp8 in blocks, stream-K",
        "rows_ak_bk_e4m3_f32_bf16_sm90a_128x64x128_w8x1_s2_cooperative_tma_dynamic_block_promoted_streamk",
    ),
    (
        "fp8 in blocks, some columns after others",
        "rows_ak_bk_e5m2xe4m3_f32_bf16_sm90a_128x256x128_w8x1_s2_cooperative_tma_dynamic_block_promoted",
    ),
    (
        "fp8 in blocks, three together",
        "rows_ak_bk_e4m3_f32_bf16_sm90a_192x64x128_w12x1_s2_cooperative_tma_dynamic_block_promoted",
    ),
    ("fp8 in blocks", "reduction_ak_bk_e4m3_f32_f32_sm90a_64x64x128_w4x1_s2_pingpong_tma_block_promoted"),
];

/// Every subject.
///
/// # Panics
/// If one of the names above is no legal spec, which a test would show.
pub fn subjects() -> Vec<Subject> {
    SUBJECTS
        .into_iter()
        .map(|(feature, name)| {
            let spec: KernelSpec = match format!("ggemm_{name}").parse() {
                Ok(spec) => spec,
                Err(error) => panic!("{error}"),
            };
            match ValidSpec::new(spec, spec.arch) {
                Ok(spec) => Subject { feature, spec },
                Err(violations) => panic!("{name}: {}", violations[0]),
            }
        })
        .collect()
}
