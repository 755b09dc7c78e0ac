//! The prelude: thin, named wrappers of PTX in real files, one a concern, of which a kernel's text carries those it
//! uses.

use crate::dtype::Dtype;
use crate::geometry;
use crate::ir::{FragmentId, FragmentRole, GlobalTile, Kernel, Op, ParamType};

const TYPES: &str = include_str!("prelude/types.cuh");
const WARP: &str = include_str!("prelude/warp.cuh");
const CP_ASYNC: &str = include_str!("prelude/cp_async.cuh");
const STAGING: &str = include_str!("prelude/staging.cuh");
const LDMATRIX: &str = include_str!("prelude/ldmatrix.cuh");
const MMA_BF16: &str = include_str!("prelude/mma_bf16.cuh");
const MMA_F16: &str = include_str!("prelude/mma_f16.cuh");
const STORE_BF16: &str = include_str!("prelude/store_bf16.cuh");
const STORE_F16: &str = include_str!("prelude/store_f16.cuh");
const STORE_F32: &str = include_str!("prelude/store_f32.cuh");
const STORE: &str = include_str!("prelude/store.cuh");
const STORE_WIDE: &str = include_str!("prelude/store_wide.cuh");
const ADD: &str = include_str!("prelude/add.cuh");

/// The files that the text of `kernel` needs, in the order in which it needs them.
pub(super) fn used_by(kernel: &Kernel) -> Vec<&'static str> {
    let mut uses = Uses::default();
    kernel.body.for_each_stmt(|s| match &s.op {
        Op::LoadIndex { .. } | Op::Shuffle { .. } | Op::Ballot { .. } => uses.warp = true,
        Op::CopyTile { .. } | Op::CommitCopies | Op::AwaitCopies { .. } => uses.cp_async = true,
        Op::LoadStaging { .. } | Op::StoreStaging { .. } => uses.staging = true,
        Op::LoadMatrix { .. } => uses.ldmatrix = true,
        Op::StoreTile { from, to, accumulate, paired } => {
            uses.add |= accumulate.is_some();
            uses.store_wide |= stores_eight(kernel, *from, to, *paired);
            if let ParamType::Output(t) = kernel.contract.params[to.pointer.0 as usize].ty {
                uses.store = Some(t);
            }
        }
        _ => {}
    });
    let operand = kernel.body.fragments.iter().find(|f| f.role == FragmentRole::OperandA).map(|f| f.dtype);
    let mut files = vec![TYPES];
    for (used, file) in
        [(uses.warp, WARP), (uses.cp_async, CP_ASYNC), (uses.staging, STAGING), (uses.ldmatrix, LDMATRIX)]
    {
        if used {
            files.push(file);
        }
    }
    match operand {
        Some(Dtype::Bf16) => files.push(MMA_BF16),
        Some(Dtype::F16) => files.push(MMA_F16),
        Some(Dtype::F32) | None => {}
    }
    if let Some(store) = uses.store {
        files.push(match store {
            Dtype::Bf16 => STORE_BF16,
            Dtype::F16 => STORE_F16,
            Dtype::F32 => STORE_F32,
        });
        files.push(if uses.store_wide { STORE_WIDE } else { STORE });
    }
    if uses.add {
        files.push(ADD);
    }
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
    ldmatrix: bool,
    store: Option<Dtype>,
    store_wide: bool,
    add: bool,
}
