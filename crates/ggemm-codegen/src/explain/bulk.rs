//! What the copy engine is asked for.

use serde::Serialize;

use super::Site;
use crate::ir::{ExprId, Kernel, Op, ParamId, ParamType, SharedId, Stmt};

/// A statement that starts bulk copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BulkCopy {
    /// The statement.
    #[serde(flatten)]
    pub site: Site,
    /// The operand.
    pub operand: String,
    /// The tile in shared memory.
    pub tile: String,
    /// Which way.
    pub direction: BulkDirection,
    /// Elements of a box, the contiguous dimension first.
    #[serde(rename = "box")]
    pub counts: Vec<u32>,
    /// Boxes of the statement: one for each panel of the tile.
    pub boxes: u32,
    /// The swizzle's bytes; 0: none.
    pub swizzle_bytes: u32,
    /// Bytes of all boxes of the statement.
    pub bytes: u32,
    /// CTAs of the cluster that each box goes to.
    pub ctas: u32,
}

/// Which way a bulk copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BulkDirection {
    /// Into shared memory.
    Load,
    /// Out of it.
    Store,
    /// Out of it, added to what is there.
    Add,
}

impl BulkDirection {
    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            BulkDirection::Load => "load",
            BulkDirection::Store => "store",
            BulkDirection::Add => "add",
        }
    }
}

pub(super) fn copies(kernel: &Kernel, sites: &[(Site, &Stmt)]) -> Vec<BulkCopy> {
    let copy = |(site, stmt): &(Site, &Stmt)| match &stmt.op {
        Op::BulkLoad(load) => {
            let ctas = load.multicast.map_or(1, |ranks| receivers(kernel, ranks));
            of(kernel, site, load.map, load.to.tile, BulkDirection::Load, ctas)
        }
        Op::BulkStore(store) => {
            let direction = if store.add { BulkDirection::Add } else { BulkDirection::Store };
            of(kernel, site, store.map, store.from.tile, direction, 1)
        }
        _ => None,
    };
    sites.iter().filter_map(copy).collect()
}

/// How many ranks a mask names; all of the cluster where it is computed.
fn receivers(kernel: &Kernel, ranks: ExprId) -> u32 {
    kernel.body.exprs.as_constant(ranks).map_or(kernel.contract.cluster, |mask| mask.count_ones())
}

fn of(
    kernel: &Kernel,
    site: &Site,
    map: ParamId,
    tile: SharedId,
    direction: BulkDirection,
    ctas: u32,
) -> Option<BulkCopy> {
    let param = &kernel.contract.params[map.0 as usize];
    let ParamType::TensorMap(id) = param.ty else { return None };
    let map = kernel.contract.tensor_maps.get(id.0 as usize)?;
    let tile = &kernel.body.shared[tile.0 as usize];
    let boxes = tile.layout.cols.0.get(1).map_or(1, |panels| panels.extent);
    Some(BulkCopy {
        site: site.clone(),
        operand: param.name.clone(),
        tile: tile.name.clone(),
        direction,
        counts: map.dims.iter().map(|dim| dim.count).collect(),
        boxes,
        swizzle_bytes: map.swizzle_bytes,
        bytes: boxes * map.box_bytes(),
        ctas,
    })
}
