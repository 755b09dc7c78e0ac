//! Which expressions a statement evaluates.

use super::expr::ExprId;
use super::stmt::{GlobalTile, Op, ShuffleFrom, TileRef};

impl Op {
    /// Every expression that the statement itself evaluates; statements inside it have their own.
    pub fn expressions(&self) -> Vec<ExprId> {
        let slot = |tile: &TileRef| tile.slot;
        let block = |b: &GlobalTile| -> Vec<ExprId> {
            [b.origin, b.row_stride].into_iter().chain(b.rows).chain(b.cols).collect()
        };
        let with = |mut all: Vec<ExprId>, more: &[ExprId]| {
            all.extend(more);
            all
        };
        match self {
            Op::Let { value, .. } | Op::Assign { value, .. } => vec![*value],
            Op::If { condition, .. } | Op::Break { condition } => vec![*condition],
            Op::For { end, .. } => vec![*end],
            Op::LoadIndex { index, wide, guard, .. } => vec![*index, *wide, *guard],
            Op::Shuffle { value, from: ShuffleFrom::Lane(lane), .. } => vec![*value, *lane],
            Op::Shuffle { value, from: ShuffleFrom::Below(_), .. } => vec![*value],
            Op::Ballot { predicate, .. } => vec![*predicate],
            Op::CopyTile { from, to, .. } => with(block(from), &[slot(to)]),
            Op::BeginStaging { from, .. } => block(from),
            Op::LoadStaging { .. } => Vec::new(),
            Op::StoreStaging { to, .. } => vec![slot(to)],
            Op::LoadMatrix { to_slot, from, step, .. } => vec![*to_slot, slot(from), *step],
            Op::Multiply { slot, .. } => vec![*slot],
            Op::StoreTile { to, accumulate, .. } => with(block(to), &accumulate.iter().copied().collect::<Vec<_>>()),
            Op::Arrive(arrive) => [arrive.at.slot].into_iter().chain(arrive.bytes).chain(arrive.rank).collect(),
            Op::Await { at, parity } => vec![at.slot, *parity],
            Op::NamedBarrier { id, .. } => vec![*id],
            Op::BulkLoad(load) => {
                let more = [slot(&load.to), load.row, load.at.slot];
                with(load.coordinates.clone(), &more).into_iter().chain(load.multicast).collect()
            }
            Op::BulkStore(store) => with(store.coordinates.clone(), &[slot(&store.from), store.row]),
            Op::WarpgroupMultiply(p) => vec![slot(&p.a), slot(&p.b), p.step, p.keep],
            Op::StoreFragment { to, row, .. } => vec![slot(to), *row],
            Op::LoadScales(load) => vec![load.origin, load.stride, load.count],
            Op::CopyScales(c) => {
                vec![c.origin, c.stride, c.block_stride, c.count, c.blocks, slot(&c.to), c.at.slot]
            }
            Op::ReadScales(read) => [slot(&read.from), read.block].into_iter().chain(read.before).collect(),
            Op::SendSums(send) => vec![slot(&send.to), send.at.slot, send.rank],
            Op::AddSums(add) => vec![slot(&add.from)],
            Op::SaveSums(save) => vec![save.slot],
            Op::AddSaved(add) => vec![add.slot],
            Op::AwaitWord(word) => vec![word.index, word.value],
            Op::WriteWord { to, value } => vec![slot(to), *value],
            Op::ReadWord { from, .. } => vec![slot(from)],
            Op::Quantize(step) => step.expressions(),
            Op::Rows(step) => step.expressions(),
            Op::FetchAdd(add) => vec![add.index, add.amount, add.guard],
            Op::Comment(_)
            | Op::Loop { .. }
            | Op::Barrier
            | Op::CommitCopies
            | Op::AwaitCopies { .. }
            | Op::Zero { .. }
            | Op::Role(_)
            | Op::Elect { .. }
            | Op::InitBarrier { .. }
            | Op::FenceBarrierInit
            | Op::ClusterArrive
            | Op::ClusterWait
            | Op::CommitStores
            | Op::AwaitStores { .. }
            | Op::PrefetchMap { .. }
            | Op::FenceProducts
            | Op::CommitProducts
            | Op::AwaitProducts { .. }
            | Op::Promote(_)
            | Op::ScaleSums(_)
            | Op::FenceProxy
            | Op::AwaitGrid
            | Op::LaunchDependents => Vec::new(),
        }
    }
}
