//! The prelude: thin, named wrappers of PTX in real files, one a concern, of which a kernel's text carries those it
//! uses.

use crate::dtype::Dtype;
use crate::geometry;
use crate::ir::{
    Arrive, BulkLoad, BulkStore, ExprKind, FragmentId, FragmentRole, GlobalTile, Kernel, Op, ParamType, Quantize, Rows,
};

const TYPES: &str = include_str!("prelude/types.cuh");
const WARP: &str = include_str!("prelude/warp.cuh");
const FP8: &str = include_str!("prelude/fp8.cuh");
const CP_ASYNC: &str = include_str!("prelude/cp_async.cuh");
const ALIGNED: &str = include_str!("prelude/aligned.cuh");
const PIECE_BYTES: &str = include_str!("prelude/piece_bytes.cuh");
const PIECE_BYTES_F32: &str = include_str!("prelude/piece_bytes_f32.cuh");
const PIECE_BYTES_FP8: &str = include_str!("prelude/piece_bytes_fp8.cuh");
const STAGING: &str = include_str!("prelude/staging.cuh");
const STAGING_F32: &str = include_str!("prelude/staging_f32.cuh");
const LOAD_WORD: &str = include_str!("prelude/load_word.cuh");
const LDMATRIX: &str = include_str!("prelude/ldmatrix.cuh");
const MMA_BF16: &str = include_str!("prelude/mma_bf16.cuh");
const MMA_F16: &str = include_str!("prelude/mma_f16.cuh");
const MMA_TF32: &str = include_str!("prelude/mma_tf32.cuh");
const MMA_E4M3: &str = include_str!("prelude/mma_e4m3.cuh");
const MMA_E4M3_E5M2: &str = include_str!("prelude/mma_e4m3_e5m2.cuh");
const MMA_E5M2: &str = include_str!("prelude/mma_e5m2.cuh");
const MMA_E5M2_E4M3: &str = include_str!("prelude/mma_e5m2_e4m3.cuh");
const STORE_BF16: &str = include_str!("prelude/store_bf16.cuh");
const STORE_F16: &str = include_str!("prelude/store_f16.cuh");
const STORE_F32: &str = include_str!("prelude/store_f32.cuh");
const STORE: &str = include_str!("prelude/store.cuh");
const STORE_WIDE: &str = include_str!("prelude/store_wide.cuh");
const ADD: &str = include_str!("prelude/add.cuh");
const REALIGN: &str = include_str!("prelude/realign.cuh");
const STORE_ROWS_16BIT: &str = include_str!("prelude/store_rows_16bit.cuh");
const STORE_ROWS_F32: &str = include_str!("prelude/store_rows_f32.cuh");

/// The files of Hopper's statements and of scales, in the order in which they need each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hopper {
    SharedAddress,
    Roles,
    Cluster,
    Mbarrier,
    MbarrierCluster,
    TensorMap,
    TmaLoad,
    TmaMulticast,
    TmaStore,
    TmaAdd,
    FenceProxy,
    Wgmma,
    Scales,
    CopiedScales,
    Stmatrix,
    PackBf16,
    PackF16,
    StoreShared,
    Words,
    Exchange,
    PartialSums,
    Grid,
}

impl Hopper {
    const fn text(self) -> &'static str {
        match self {
            Hopper::SharedAddress => include_str!("prelude/shared_address.cuh"),
            Hopper::Roles => include_str!("prelude/roles.cuh"),
            Hopper::Cluster => include_str!("prelude/cluster.cuh"),
            Hopper::Mbarrier => include_str!("prelude/mbarrier.cuh"),
            Hopper::MbarrierCluster => include_str!("prelude/mbarrier_cluster.cuh"),
            Hopper::TensorMap => include_str!("prelude/tensor_map.cuh"),
            Hopper::TmaLoad => include_str!("prelude/tma_load.cuh"),
            Hopper::TmaMulticast => include_str!("prelude/tma_multicast.cuh"),
            Hopper::TmaStore => include_str!("prelude/tma_store.cuh"),
            Hopper::TmaAdd => include_str!("prelude/tma_add.cuh"),
            Hopper::FenceProxy => include_str!("prelude/fence_proxy.cuh"),
            Hopper::Wgmma => include_str!("prelude/wgmma.cuh"),
            Hopper::Scales => include_str!("prelude/scales.cuh"),
            Hopper::CopiedScales => include_str!("prelude/copied_scales.cuh"),
            Hopper::Stmatrix => include_str!("prelude/stmatrix.cuh"),
            Hopper::PackBf16 => include_str!("prelude/pack_bf16.cuh"),
            Hopper::PackF16 => include_str!("prelude/pack_f16.cuh"),
            Hopper::StoreShared => include_str!("prelude/store_shared.cuh"),
            Hopper::Words => include_str!("prelude/words.cuh"),
            Hopper::Exchange => include_str!("prelude/exchange.cuh"),
            Hopper::PartialSums => include_str!("prelude/partial_sums.cuh"),
            Hopper::Grid => include_str!("prelude/grid.cuh"),
        }
    }

    /// What a statement needs.
    fn of(kernel: &Kernel, op: &Op) -> Vec<Hopper> {
        match op {
            Op::Role(_) | Op::Elect { .. } | Op::NamedBarrier { .. } => vec![Hopper::Roles],
            Op::Arrive(Arrive { rank: Some(_), .. }) => vec![Hopper::Mbarrier, Hopper::MbarrierCluster],
            Op::InitBarrier { .. } | Op::FenceBarrierInit | Op::Await { .. } | Op::Arrive(_) => vec![Hopper::Mbarrier],
            Op::ClusterArrive | Op::ClusterWait => vec![Hopper::Cluster],
            Op::BulkLoad(BulkLoad { multicast: Some(_), .. }) => vec![Hopper::TensorMap, Hopper::TmaMulticast],
            Op::BulkLoad(_) => vec![Hopper::TensorMap, Hopper::TmaLoad],
            Op::BulkStore(BulkStore { add: true, .. }) => vec![Hopper::TensorMap, Hopper::TmaStore, Hopper::TmaAdd],
            Op::BulkStore(_) | Op::CommitStores | Op::AwaitStores { .. } => vec![Hopper::TensorMap, Hopper::TmaStore],
            Op::PrefetchMap { .. } => vec![Hopper::TensorMap],
            Op::FenceProxy => vec![Hopper::FenceProxy],
            Op::FenceProducts | Op::WarpgroupMultiply(_) | Op::CommitProducts | Op::AwaitProducts { .. } => {
                vec![Hopper::Wgmma, Hopper::Roles]
            }
            Op::StoreFragment { to, .. } => match kernel.body.shared[to.tile.0 as usize].dtype {
                Dtype::Bf16 => vec![Hopper::Stmatrix, Hopper::PackBf16],
                Dtype::F16 => vec![Hopper::Stmatrix, Hopper::PackF16],
                Dtype::F32 => vec![Hopper::StoreShared],
                Dtype::E4m3 | Dtype::E5m2 => Vec::new(),
            },
            Op::LoadScales(_) => vec![Hopper::Scales],
            Op::CopyScales(_) | Op::ReadScales(_) => vec![Hopper::Mbarrier, Hopper::CopiedScales],
            Op::WriteWord { .. } | Op::ReadWord { .. } => vec![Hopper::Words],
            Op::SendSums(_) | Op::AddSums(_) => vec![Hopper::Cluster, Hopper::Mbarrier, Hopper::Exchange],
            Op::SaveSums(_) | Op::AddSaved(_) | Op::AwaitWord(_) => vec![Hopper::PartialSums],
            Op::AwaitGrid | Op::LaunchDependents => vec![Hopper::Grid],
            _ => Vec::new(),
        }
    }
}

/// Whether the text speaks of warps by their index.
pub(super) fn has_warp_index(kernel: &Kernel) -> bool {
    let mut has = false;
    kernel.body.for_each_stmt(|s| has |= Hopper::of(kernel, &s.op).contains(&Hopper::Roles));
    has
}

/// The files that the text of `kernel` needs, in the order in which it needs them.
pub(super) fn used_by(kernel: &Kernel) -> Vec<&'static str> {
    let mut uses = Uses::default();
    kernel.body.for_each_stmt(|s| match &s.op {
        Op::LoadIndex { .. } | Op::Shuffle { .. } | Op::Ballot { .. } => uses.warp = true,
        Op::CopyTile { .. } | Op::CommitCopies | Op::AwaitCopies { .. } => uses.cp_async = true,
        Op::BeginStaging { .. } | Op::LoadStaging { .. } | Op::StoreStaging { .. } => uses.staging = true,
        Op::LoadMatrix { to, transposed, .. } => {
            uses.ldmatrix = true;
            uses.load_word |= *transposed && kernel.body.fragments[to.0 as usize].dtype == Dtype::F32;
        }
        Op::Rows(Rows::Realign { .. }) => uses.realign = true,
        Op::Rows(Rows::StorePanel { from, .. }) => {
            uses.warp = true;
            uses.store_rows = Some(kernel.body.shared[from.tile.0 as usize].dtype);
        }
        Op::StoreTile { from, to, accumulate, paired } => {
            uses.add |= accumulate.is_some();
            uses.store_wide |= stores_eight(kernel, *from, to, *paired);
            if let ParamType::Output(t) = kernel.contract.params[to.pointer.0 as usize].ty {
                uses.store = Some(t);
            }
        }
        _ => {}
    });
    let operand = |role| kernel.body.fragments.iter().find(|f| f.role == role).map(|f| f.dtype);
    let operands = [operand(FragmentRole::OperandA), operand(FragmentRole::OperandB)];
    let is_fp8 = operands[0].is_some_and(Dtype::is_fp8);
    let mut hopper = Vec::new();
    kernel.body.for_each_stmt(|s| hopper.extend(Hopper::of(kernel, &s.op)));
    let speaks_of_cluster = |k: &ExprKind| {
        use crate::ir::Builtin::{Cluster, ClusterCount, ClusterRank};
        matches!(k, ExprKind::Builtin(ClusterRank | Cluster | ClusterCount))
    };
    if kernel.body.exprs.iter().any(|n| speaks_of_cluster(&n.kind)) {
        hopper.push(Hopper::Cluster);
    }
    let has_shared = !kernel.body.shared.is_empty() || !kernel.body.barriers.is_empty();
    let quantizes = !quantization_of(kernel).is_empty();
    uses.warp |= quantizes;
    if (!hopper.is_empty() || quantizes) && has_shared && !uses.ldmatrix {
        hopper.push(Hopper::SharedAddress);
    }
    uses.warp |= hopper.contains(&Hopper::Roles);
    hopper.sort_unstable();
    hopper.dedup();

    let mut files = vec![TYPES];
    let is_f32 = operands[0] == Some(Dtype::F32);
    let piece_bytes = match (is_fp8, is_f32) {
        (true, _) => PIECE_BYTES_FP8,
        (_, true) => PIECE_BYTES_F32,
        _ => PIECE_BYTES,
    };
    for (used, file) in [
        (is_fp8, FP8),
        (uses.warp, WARP),
        (uses.cp_async, CP_ASYNC),
        (uses.cp_async, piece_bytes),
        (uses.staging || uses.realign, ALIGNED),
        (uses.staging, if is_f32 { STAGING_F32 } else { STAGING }),
        (uses.realign, REALIGN),
        (uses.ldmatrix, LDMATRIX),
        (uses.load_word, LOAD_WORD),
    ] {
        if used {
            files.push(file);
        }
    }
    files.extend(hopper.into_iter().map(Hopper::text));
    files.extend(quantization_of(kernel));
    files.extend(match operands {
        [Some(Dtype::Bf16), _] => Some(MMA_BF16),
        [Some(Dtype::F16), _] => Some(MMA_F16),
        [Some(Dtype::E4m3), Some(Dtype::E5m2)] => Some(MMA_E4M3_E5M2),
        [Some(Dtype::E4m3), _] => Some(MMA_E4M3),
        [Some(Dtype::E5m2), Some(Dtype::E4m3)] => Some(MMA_E5M2_E4M3),
        [Some(Dtype::E5m2), _] => Some(MMA_E5M2),
        [Some(Dtype::F32), _] => Some(MMA_TF32),
        [None, _] => None,
    });
    if let Some(store) = uses.store {
        files.extend(match store {
            Dtype::Bf16 => Some(STORE_BF16),
            Dtype::F16 => Some(STORE_F16),
            Dtype::F32 => Some(STORE_F32),
            // No spec with such an output is valid.
            Dtype::E4m3 | Dtype::E5m2 => None,
        });
        files.push(if uses.store_wide { STORE_WIDE } else { STORE });
    }
    if uses.add {
        files.push(ADD);
    }
    if let Some(dtype) = uses.store_rows {
        files.push(if dtype == Dtype::F32 { STORE_ROWS_F32 } else { STORE_ROWS_16BIT });
    }
    files
}

/// The files of quantization's statements, in the order in which they need each other.
fn quantization_of(kernel: &Kernel) -> Vec<&'static str> {
    let (mut format, mut keeps, mut shares, mut tells, mut transposes) = (None, false, false, false, false);
    kernel.body.for_each_stmt(|s| match &s.op {
        Op::Quantize(Quantize::MakeScales { format: f, .. }) => format = Some(*f),
        Op::Quantize(Quantize::KeepPatch { .. }) => keeps = true,
        Op::Quantize(Quantize::StoreMaxima { .. }) => shares = true,
        Op::Quantize(Quantize::TellMaxima { .. }) => tells = true,
        Op::Quantize(Quantize::TransposePatch { .. }) => transposes = true,
        _ => {}
    });
    let Some(format) = format else { return Vec::new() };
    let round = if format == Dtype::E4m3 {
        include_str!("prelude/round_e4m3.cuh")
    } else {
        include_str!("prelude/round_e5m2.cuh")
    };
    let mut files = vec![include_str!("prelude/patch.cuh"), round, include_str!("prelude/block_values.cuh")];
    files.extend(keeps.then_some(include_str!("prelude/kept_patch.cuh")));
    files.extend(shares.then_some(include_str!("prelude/maxima.cuh")));
    files.extend(tells.then_some(include_str!("prelude/told_maxima.cuh")));
    files.push(include_str!("prelude/quantize.cuh"));
    files.extend(transposes.then_some(include_str!("prelude/transpose.cuh")));
    files
}

/// Whether a store writes the eight columns of a product together.
pub(super) fn stores_eight(kernel: &Kernel, from: FragmentId, to: &GlobalTile, paired: bool) -> bool {
    let map = &kernel.body.fragments[from.0 as usize].map;
    match kernel.contract.params[to.pointer.0 as usize].ty {
        ParamType::Output(dtype) => paired && geometry::columns_stored_together(map, dtype) == geometry::MMA_N,
        _ => false,
    }
}

#[derive(Default)]
struct Uses {
    warp: bool,
    cp_async: bool,
    staging: bool,
    realign: bool,
    store_rows: Option<Dtype>,
    ldmatrix: bool,
    load_word: bool,
    store: Option<Dtype>,
    store_wide: bool,
    add: bool,
}
