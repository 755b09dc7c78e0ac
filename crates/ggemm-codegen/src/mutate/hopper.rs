//! Faults in Hopper's statements: arrivals and waits, phases and bytes, fences, groups, clusters.

use super::MutationKind;
use super::expressions;
use super::plant::Planter;
use crate::geometry::MMA_N;
use crate::ir::{
    AddSums, Arrive, AtomicScope, BinaryOp, BulkLoad, BulkStore, CopyScales, ExprId, FetchAdd, LoadScales, MemoryOrder,
    Op, ParamRole, Promote, ReadScales, SendSums, Type, WarpgroupMultiply,
};

/// Whether a statement is dropped, doubled, and moved before what is done before it.
///
/// Fences and waits twice are fences and waits; a prefetch or an early start of the next grid changes no result.
pub(super) const fn structure(op: &Op) -> (bool, bool, bool) {
    match op {
        Op::Arrive(_) => (true, true, true),
        Op::NamedBarrier { .. } | Op::ClusterArrive | Op::ClusterWait => (true, true, true),
        Op::BulkLoad(_)
        | Op::BulkStore(_)
        | Op::WarpgroupMultiply(_)
        | Op::SendSums(_)
        | Op::AddSums(_)
        | Op::SaveSums(_)
        | Op::AddSaved(_)
        | Op::CopyScales(_) => (true, true, false),
        Op::AwaitWord(_) => (true, false, true),
        Op::FenceBarrierInit
        | Op::Await { .. }
        | Op::CommitStores
        | Op::AwaitStores { .. }
        | Op::FenceProducts
        | Op::CommitProducts
        | Op::AwaitProducts { .. }
        | Op::FenceProxy
        | Op::AwaitGrid => (true, false, true),
        Op::Promote(_) => (true, true, true),
        Op::ScaleSums(_) => (true, true, false),
        Op::InitBarrier { .. }
        | Op::StoreFragment { .. }
        | Op::WriteWord { .. }
        | Op::LoadScales(_)
        | Op::ReadScales(_) => (true, false, false),
        _ => (false, false, false),
    }
}

/// The slots of shared tiles and barriers that a statement names.
pub(super) fn slots_of(op: &mut Op) -> Vec<&mut ExprId> {
    match op {
        Op::Arrive(Arrive { at, .. }) | Op::Await { at, .. } => vec![&mut at.slot],
        Op::BulkLoad(BulkLoad { to, at, .. }) => vec![&mut to.slot, &mut at.slot],
        Op::BulkStore(BulkStore { from: tile, .. })
        | Op::StoreFragment { to: tile, .. }
        | Op::WriteWord { to: tile, .. }
        | Op::ReadWord { from: tile, .. } => vec![&mut tile.slot],
        Op::WarpgroupMultiply(p) => vec![&mut p.a.slot, &mut p.b.slot],
        Op::SendSums(send) => vec![&mut send.to.slot, &mut send.at.slot],
        Op::AddSums(add) => vec![&mut add.from.slot],
        Op::CopyScales(copy) => vec![&mut copy.to.slot, &mut copy.at.slot],
        Op::ReadScales(read) => vec![&mut read.from.slot],
        _ => Vec::new(),
    }
}

/// The expressions that a statement evaluates, with what they are to it; phases, bytes and slots have faults of their
/// own.
pub(super) fn uses(op: &mut Op) -> Vec<(&'static str, &mut ExprId)> {
    match op {
        Op::Arrive(Arrive { rank: Some(rank), .. }) => vec![("rank", rank)],
        Op::BulkLoad(BulkLoad { coordinates, row, multicast, .. }) => {
            let mut all: Vec<_> = coordinates.iter_mut().map(|c| ("coordinate", c)).collect();
            all.push(("row", row));
            all.extend(multicast.as_mut().map(|e| ("ranks", e)));
            all
        }
        Op::BulkStore(BulkStore { coordinates, row, .. }) => {
            let mut all: Vec<_> = coordinates.iter_mut().map(|c| ("coordinate", c)).collect();
            all.push(("row", row));
            all
        }
        Op::NamedBarrier { id, .. } => vec![("id", id)],
        Op::WarpgroupMultiply(WarpgroupMultiply { step, .. }) => vec![("step", step)],
        Op::StoreFragment { row, .. } => vec![("row", row)],
        Op::LoadScales(LoadScales { origin, stride, count, .. }) => {
            vec![("origin", origin), ("stride", stride), ("count", count)]
        }
        Op::CopyScales(CopyScales { origin, stride, block_stride, count, blocks, .. }) => vec![
            ("origin", origin),
            ("stride", stride),
            ("block stride", block_stride),
            ("count", count),
            ("blocks", blocks),
        ],
        Op::ReadScales(read) => {
            let before = read.before.as_mut().map(|before| ("before", before));
            [("block", &mut read.block)].into_iter().chain(before).collect()
        }
        Op::SendSums(send) => vec![("rank", &mut send.rank)],
        Op::WriteWord { value, .. } => vec![("value", value)],
        Op::SaveSums(save) => vec![("slot", &mut save.slot)],
        Op::AddSaved(add) => vec![("slot", &mut add.slot)],
        Op::AwaitWord(word) => vec![("index", &mut word.index), ("value", &mut word.value)],
        Op::FetchAdd(add) => vec![("index", &mut add.index), ("amount", &mut add.amount), ("guard", &mut add.guard)],
        _ => Vec::new(),
    }
}

impl Planter<'_> {
    /// What Hopper's statements are about, beside expressions in general.
    pub(super) fn hopper(&mut self) {
        match &self.stmt.op {
            Op::Elect { body } if !body.0.is_empty() => {
                let body = body.clone();
                self.plant(MutationKind::EveryLane, "all lanes do it".into(), |block, at| {
                    block.splice(at..=at, body.0);
                });
            }
            Op::InitBarrier { barrier } => self.arrivals(barrier.0 as usize),
            Op::Arrive(arrive) => self.arrive(*arrive),
            Op::Await { parity, .. } => {
                let parity = *parity;
                let description = format!("parity: 1 - {}", expressions::text(self.kernel, parity));
                self.plant_op(MutationKind::Phase, description, |k, op| {
                    if let Op::Await { parity: p, .. } = op {
                        let one = k.body.exprs.constant(Type::I32, 1);
                        *p = k.body.exprs.binary(BinaryOp::Sub, one, parity);
                    }
                });
            }
            Op::NamedBarrier { .. } => self.meeting(),
            Op::BulkLoad(BulkLoad { multicast: Some(_), .. }) => {
                self.plant_op(MutationKind::Rank, "ranks: the own CTA alone".into(), |_, op| {
                    if let Op::BulkLoad(load) = op {
                        load.multicast = None;
                    }
                });
            }
            Op::BulkStore(BulkStore { .. }) => {
                self.plant_op(MutationKind::Accumulate, "adds: negated".into(), |_, op| {
                    if let Op::BulkStore(store) = op {
                        store.add = !store.add;
                    }
                });
            }
            Op::AwaitStores { .. } | Op::AwaitProducts { .. } => self.weaken(),
            Op::WarpgroupMultiply(p) => self.product(*p),
            Op::LoadScales(LoadScales { count, .. }) | Op::CopyScales(CopyScales { count, .. }) => {
                fn count_of(op: &mut Op) -> Option<&mut ExprId> {
                    match op {
                        Op::LoadScales(LoadScales { count, .. }) | Op::CopyScales(CopyScales { count, .. }) => {
                            Some(count)
                        }
                        _ => None,
                    }
                }
                self.shifted(MutationKind::ShiftBound, "count", *count, |op, new| {
                    count_of(op).into_iter().for_each(|count| *count = new);
                });
                self.plant_op(MutationKind::DropBound, "count: all".into(), |k, op| {
                    let all = k.body.exprs.constant(Type::I32, i64::from(i32::MAX));
                    count_of(op).into_iter().for_each(|count| *count = all);
                });
            }
            Op::Promote(Promote { scales, first, columns, .. }) => {
                if columns.0 > 0 {
                    self.plant_op(MutationKind::Columns, "columns: the first".into(), |_, op| {
                        if let Op::Promote(promote) = op {
                            promote.columns.0 = 0;
                        }
                    });
                }
                if scales.is_some() {
                    self.plant_op(MutationKind::Scale, "scales: none".into(), |_, op| {
                        if let Op::Promote(promote) = op {
                            promote.scales = None;
                        }
                    });
                }
                if *first > 0 {
                    self.plant_op(MutationKind::RegisterSet, "sums: the first columns".into(), |_, op| {
                        if let Op::Promote(promote) = op {
                            promote.first = 0;
                        }
                    });
                }
            }
            Op::ReadScales(ReadScales { first, .. }) if *first > 0 => {
                self.plant_op(MutationKind::RegisterSet, "scales: those of the first columns".into(), |_, op| {
                    if let Op::ReadScales(read) = op {
                        read.first = 0;
                    }
                });
            }
            Op::StoreFragment { scales, .. } => {
                if scales.is_some() {
                    self.plant_op(MutationKind::Scale, "scales: none".into(), |_, op| {
                        if let Op::StoreFragment { scales, .. } = op {
                            *scales = None;
                        }
                    });
                }
                self.plant_op(MutationKind::Transpose, "transposed: negated".into(), |_, op| {
                    if let Op::StoreFragment { transposed, .. } = op {
                        *transposed = !*transposed;
                    }
                });
            }
            Op::SendSums(SendSums { from: part, .. }) | Op::AddSums(AddSums { to: part, .. }) if part.first > 0 => {
                self.plant_op(MutationKind::RegisterSet, "sums: the first columns".into(), |_, op| {
                    if let Op::SendSums(SendSums { from: part, .. }) | Op::AddSums(AddSums { to: part, .. }) = op {
                        part.first = 0;
                    }
                });
            }
            Op::FetchAdd(FetchAdd { order: MemoryOrder::AcquireRelease, pointer, .. }) => {
                // Nothing hangs on a counter but the words beside it.
                let role = self.kernel.contract.params[pointer.0 as usize].role;
                if role == ParamRole::PartialSumsReady {
                    self.plant_op(MutationKind::AtomicOrder, "order: none".into(), |_, op| {
                        if let Op::FetchAdd(add) = op {
                            add.order = MemoryOrder::Relaxed;
                        }
                    });
                }
                self.narrower();
            }
            Op::FetchAdd(_) => self.narrower(),
            _ => {}
        }
    }

    fn narrower(&mut self) {
        for scope in [AtomicScope::Cta, AtomicScope::Cluster] {
            self.plant_op(MutationKind::AtomicScope, format!("scope: {scope:?}"), |_, op| {
                if let Op::FetchAdd(add) = op {
                    add.scope = scope;
                }
            });
        }
    }

    fn arrivals(&mut self, barrier: usize) {
        let arrivals = self.kernel.body.barriers[barrier].arrivals;
        for new in [arrivals + 1, arrivals - 1].into_iter().filter(|n| *n > 0) {
            let mut kernel = self.kernel.clone();
            kernel.body.barriers[barrier].arrivals = new;
            self.push(MutationKind::Arrivals, format!("arrivals: {arrivals} becomes {new}"), kernel);
        }
    }

    fn arrive(&mut self, arrive: Arrive) {
        if let Some(bytes) = arrive.bytes {
            self.plant_op(MutationKind::Bytes, "bytes: none".into(), |_, op| {
                if let Op::Arrive(arrive) = op {
                    arrive.bytes = None;
                }
            });
            for (sign, by) in [("+", BinaryOp::Add), ("-", BinaryOp::Sub)] {
                let description = format!("bytes: {} {sign} 16", expressions::text(self.kernel, bytes));
                self.plant_op(MutationKind::Bytes, description, |k, op| {
                    let piece = k.body.exprs.constant(Type::I32, 16);
                    let new = k.body.exprs.binary(by, bytes, piece);
                    if let Op::Arrive(arrive) = op {
                        arrive.bytes = Some(new);
                    }
                });
            }
        }
        if arrive.rank.is_some() {
            self.plant_op(MutationKind::Rank, "rank: the own CTA".into(), |_, op| {
                if let Op::Arrive(arrive) = op {
                    arrive.rank = None;
                }
            });
        }
    }

    fn meeting(&mut self) {
        self.plant_op(MutationKind::Meeting, "waits: negated".into(), |_, op| {
            if let Op::NamedBarrier { wait, .. } = op {
                *wait = !*wait;
            }
        });
        for more in [32, -32] {
            self.plant_op(MutationKind::Meeting, format!("threads: {more} more"), |_, op| {
                if let Op::NamedBarrier { threads, .. } = op {
                    *threads = threads.saturating_add_signed(more);
                }
            });
        }
    }

    fn weaken(&mut self) {
        self.plant_op(MutationKind::WeakenWait, "pending: one more".into(), |_, op| {
            if let Op::AwaitStores { pending, .. } | Op::AwaitProducts { pending, .. } = op {
                *pending += 1;
            }
        });
    }

    fn product(&mut self, product: WarpgroupMultiply) {
        self.plant_op(MutationKind::Keep, "keep: negated".into(), |k, op| {
            if let Op::WarpgroupMultiply(p) = op {
                p.keep = match k.body.exprs.as_constant(product.keep) {
                    Some(value) => k.body.exprs.constant(Type::Bool, 1 - value),
                    None => k.body.exprs.not(product.keep),
                };
            }
        });
        if product.first > 0 {
            self.plant_op(MutationKind::Columns, "columns: the first".into(), |_, op| {
                if let Op::WarpgroupMultiply(p) = op {
                    p.first = 0;
                }
            });
        }
        let width = product.width(&self.kernel.body.fragments[product.accumulator.0 as usize]);
        if width > MMA_N {
            self.plant_op(MutationKind::Columns, format!("columns: {MMA_N} fewer"), |_, op| {
                if let Op::WarpgroupMultiply(p) = op {
                    p.columns = Some(width - MMA_N);
                }
            });
        }
        for (name, which) in [("a", 0), ("b", 1)] {
            self.plant_op(MutationKind::Transpose, format!("{name}: the other majorness"), |_, op| {
                if let Op::WarpgroupMultiply(p) = op {
                    let side = if which == 0 { &mut p.a_is_mn_major } else { &mut p.b_is_mn_major };
                    *side = !*side;
                }
            });
        }
    }
}
