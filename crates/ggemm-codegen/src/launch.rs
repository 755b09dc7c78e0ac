//! What the host puts into a kernel's parameters for a contraction: the one statement of it, for whoever launches.

use crate::contraction::Contraction;
use crate::ir::{GridRule, ParamRole};
use crate::problem::{GroupForm, IndexType};
use crate::scaling::ScaleShape;
use crate::spec::{KernelSpec, Ragged};

/// The value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// The first element of an operand.
    Pointer(Operand),
    /// An integer; booleans are 0 and 1.
    Integer(i64),
}

/// What a pointer parameter points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A.
    A,
    /// B.
    B,
    /// D.
    D,
    /// The scales of A.
    AScales,
    /// The scales of B.
    BScales,
    /// The array of sizes or ends.
    Groups,
    /// Words that the launch finds at 0.
    Workspace,
    /// Slots for sums of parts of tiles, one for each CTA.
    PartialSums,
    /// Words that say which of them hold sums; the launch finds them at 0.
    PartialSumsReady,
    /// What is quantized.
    Source,
    /// The elements of a quantized copy, by its number.
    Elements(u8),
    /// Their scales.
    Scales(u8),
}

/// How many CTAs to launch where `resident` of the kernel run at once, in whole clusters; 0 where there is nothing to
/// write.
pub fn grid(rule: GridRule, spec: &KernelSpec, problem: &Contraction, resident: u32) -> u32 {
    let cluster = spec.cluster_ctas().max(1);
    match rule {
        GridRule::Persistent => {
            let clusters =
                u32::try_from(most_pieces(spec, problem)).unwrap_or(u32::MAX).min((resident / cluster).max(1));
            clusters.saturating_mul(cluster)
        }
    }
}

/// The largest number of tiles, or pieces of some, that any sizes could make.
fn most_pieces(spec: &KernelSpec, problem: &Contraction) -> u64 {
    let of_each = if spec.stream_k { crate::kernels::MOST_UNITS } else { 1 };
    most_tiles(spec, problem).saturating_mul(u64::from(of_each))
}

/// The largest number of tiles that any sizes could make, those of a cluster counted as one.
fn most_tiles(spec: &KernelSpec, problem: &Contraction) -> u64 {
    let c = problem;
    let count = |n: usize| n as u64;
    let tile_m = u64::from(spec.tile.m.max(1)) * u64::from(spec.cluster.m.max(1));
    let tile_n = u64::from(spec.tile.n.max(1)) * u64::from(spec.cluster.n.max(1));
    let row_tiles = match c.ragged {
        // Each group may add one tile that is not full, and so may the tail, but a tile has a row of its own.
        Ragged::Rows => count(c.rows).min(count(c.rows) / tile_m + count(c.groups) + u64::from(c.zero_tail)),
        Ragged::Reduction => {
            let matrices = if c.weight_shared { count(c.groups).min(1) } else { count(c.groups) };
            matrices.saturating_mul(count(c.rows).div_ceil(tile_m))
        }
    };
    row_tiles.saturating_mul(count(c.cols).div_ceil(tile_n))
}

/// The value that a parameter of this role takes for `problem`.
pub fn argument(role: ParamRole, problem: &Contraction) -> Argument {
    let c = problem;
    let merged = c.ragged == Ragged::Reduction && c.weight_shared;
    let size = |n: usize| Argument::Integer(n as i64);
    let flag = |on: bool| Argument::Integer(i64::from(on));
    let scale = |operand: usize, stride: fn(&ScaleShape) -> usize| size(c.scales.map_or(0, |s| stride(&s[operand])));
    match role {
        ParamRole::A => Argument::Pointer(Operand::A),
        ParamRole::B => Argument::Pointer(Operand::B),
        ParamRole::D => Argument::Pointer(Operand::D),
        ParamRole::Groups => Argument::Pointer(Operand::Groups),
        ParamRole::Workspace => Argument::Pointer(Operand::Workspace),
        ParamRole::PartialSums => Argument::Pointer(Operand::PartialSums),
        ParamRole::PartialSumsReady => Argument::Pointer(Operand::PartialSumsReady),
        ParamRole::GroupCount => size(c.groups),
        ParamRole::GroupsAreEnds => flag(c.group_form == GroupForm::Ends),
        ParamRole::GroupsAreI64 => flag(c.group_index == IndexType::I64),
        ParamRole::Rows => size(c.rows),
        ParamRole::Cols => size(c.cols),
        ParamRole::Reduction => size(c.reduction),
        ParamRole::ARowStride => size(c.a.row_stride),
        ParamRole::BRowStride => size(c.b.row_stride),
        ParamRole::BGroupStride => size(c.b.group_stride),
        ParamRole::DRowStride => size(c.d.row_stride),
        ParamRole::DGroupStride => size(c.d.group_stride),
        ParamRole::AScales => Argument::Pointer(Operand::AScales),
        ParamRole::BScales => Argument::Pointer(Operand::BScales),
        ParamRole::AScaleGroupStride => scale(0, |s| s.group_stride),
        ParamRole::AScaleOuterStride => scale(0, |s| s.outer_stride),
        ParamRole::AScaleReductionStride => scale(0, |s| s.reduction_stride),
        ParamRole::BScaleGroupStride => scale(1, |s| s.group_stride),
        ParamRole::BScaleOuterStride => scale(1, |s| s.outer_stride),
        ParamRole::BScaleReductionStride => scale(1, |s| s.reduction_stride),
        ParamRole::ZeroTail => flag(c.zero_tail),
        ParamRole::Accumulate => flag(c.accumulate),
        ParamRole::MergeGroups => flag(merged),
        // A product has none of those of passes before it, which their tasks have.
        ParamRole::Quantize(_) | ParamRole::Realign(_) => Argument::Integer(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Problem, WeightSharing};

    const ROWS: &str = "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync";
    const REDUCTION: &str = "ggemm_reduction_am_bn_bf16_f32_bf16_sm80_128x256x64_w2x4_s3_multistage_cpasync";

    fn ctas(spec: &str, problem: &Problem) -> u32 {
        grid(GridRule::Persistent, &spec.parse().unwrap(), &problem.contraction(), 1000)
    }

    #[test]
    fn a_grid_has_room_for_the_worst_sizes_and_no_more() {
        // 3 groups of 1, 1 and 254 rows make 4 row tiles: 256 / 128 + 3 + 1 (the tail) bounds them.
        assert_eq!(ctas(ROWS, &Problem::forward(3, 256, 130, 64)), 6 * 2);
        // As many row tiles as rows.
        assert_eq!(ctas(ROWS, &Problem::forward(512, 4, 128, 64)), 4);
        assert_eq!(ctas(ROWS, &Problem::forward(8, 1 << 20, 4096, 64)), 1000);
        assert_eq!(ctas(REDUCTION, &Problem::grad_w(3, 256, 130, 300)), 3 * 2 * 2);
        let shared = Problem::grad_w(3, 256, 130, 300).weight_sharing(WeightSharing::Shared);
        assert_eq!(ctas(REDUCTION, &shared), 2 * 2);
    }

    /// Where few tiles are shared by all CTAs, all of them are launched.
    #[test]
    fn a_grid_has_room_for_pieces_of_tiles() {
        let stream_k = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x128x64_w4x1_s6_pingpong_tma_streamk";
        assert_eq!(ctas(stream_k, &Problem::forward(3, 256, 130, 64)), 4 * 6 * 2);
        assert_eq!(ctas(stream_k, &Problem::forward(3, 0, 128, 64)), 0);
    }

    #[test]
    fn a_grid_is_made_of_whole_clusters() {
        let cluster = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x128x64_w4x1_s6_pingpong_tma_c1x2";
        // 6 row tiles of 130 columns, which one cluster of two covers.
        assert_eq!(ctas(cluster, &Problem::forward(3, 256, 130, 64)), 6 * 2);
        assert_eq!(ctas(cluster, &Problem::forward(3, 256, 300, 64)), 6 * 2 * 2);
        let spec = cluster.parse().unwrap();
        let large = Problem::forward(8, 1 << 20, 4096, 64).contraction();
        assert_eq!(grid(GridRule::Persistent, &spec, &large, 131), 130);
        assert_eq!(grid(GridRule::Persistent, &spec, &large, 1), 2, "at least one cluster");
        assert_eq!(ctas(cluster, &Problem::forward(3, 0, 128, 64)), 0);
    }

    #[test]
    fn nothing_to_write_is_nothing_to_launch() {
        for problem in [Problem::forward(3, 0, 128, 64), Problem::forward(3, 128, 0, 64)] {
            assert_eq!(ctas(ROWS, &problem), 0, "{problem}");
        }
        assert_eq!(ctas(REDUCTION, &Problem::grad_w(3, 0, 128, 0)), 0);
        assert_ne!(ctas(REDUCTION, &Problem::grad_w(3, 0, 128, 64)), 0, "zeros are written");
    }
}
