//! Where a statement is: its path through the blocks, and a name for that place that survives moved lines.

use std::collections::HashMap;

use crate::ir::{Block, Body, LoadScales, Op, ReadScales, Stmt};

/// A statement's place.
pub(super) struct Site {
    /// Index in each block from the outermost, with the block inside that statement that leads on.
    pub(super) path: Vec<(usize, usize)>,
    /// See [`Mutant::site`](super::Mutant::site).
    pub(super) name: String,
}

/// The places of all statements but remarks, in program order.
pub(super) fn sites(body: &Body) -> Vec<Site> {
    let mut found = Vec::new();
    collect(body, &body.block, &[], "", &mut found);
    found
}

fn collect(body: &Body, block: &Block, path: &[(usize, usize)], outer: &str, found: &mut Vec<Site>) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (index, stmt) in block.0.iter().enumerate() {
        if matches!(stmt.op, Op::Comment(_)) {
            continue;
        }
        let mut label = label(body, stmt);
        let count = seen.entry(label.clone()).or_insert(0);
        *count += 1;
        if *count > 1 {
            label = format!("{label} #{count}");
        }
        let place = if outer.is_empty() { label } else { format!("{outer} > {label}") };
        let file = stmt.location.file.rsplit(['/', '\\']).next().unwrap_or_default();
        let stem = file.strip_suffix(".rs").unwrap_or(file);
        let mut here = path.to_vec();
        here.push((index, 0));
        found.push(Site { path: here, name: format!("{stem}: {place}") });
        for (branch, inner) in stmt.op.blocks().enumerate() {
            let mut here = path.to_vec();
            here.push((index, branch));
            let arm = if branch == 0 { "" } else { " else" };
            collect(body, inner, &here, &format!("{place}{arm}"), found);
        }
    }
}

fn label(body: &Body, stmt: &Stmt) -> String {
    let var = |v: &crate::ir::VarId| &body.vars[v.0 as usize].name;
    let fragment = |f: &crate::ir::FragmentId| &body.fragments[f.0 as usize].name;
    let barrier = |at: &crate::ir::BarrierRef| &body.barriers[at.barrier.0 as usize].name;
    let tile = |t: &crate::ir::TileRef| &body.shared[t.tile.0 as usize].name;
    let name = stmt.op.name();
    match &stmt.op {
        Op::Role(role) => format!("{name} {}", role.name),
        Op::InitBarrier { barrier } => format!("{name} {}", body.barriers[barrier.0 as usize].name),
        Op::Arrive(arrive) => format!("{name} {}", barrier(&arrive.at)),
        Op::Await { at, .. } => format!("{name} {}", barrier(at)),
        Op::BulkLoad(load) => format!("{name} {}", tile(&load.to)),
        Op::BulkStore(store) => format!("{name} {}", tile(&store.from)),
        Op::WriteWord { to, .. } | Op::StoreFragment { to, .. } => format!("{name} {}", tile(to)),
        Op::SendSums(send) => format!("{name} {}", tile(&send.to)),
        Op::CopyScales(copy) => format!("{name} {}", tile(&copy.to)),
        Op::AddSums(add) => format!("{name} {}", tile(&add.from)),
        Op::SaveSums(save) => format!("{name} {}", fragment(&save.from)),
        Op::AddSaved(add) => format!("{name} {}", fragment(&add.to)),
        Op::FetchAdd(add) => format!("{name} {}", var(&add.var)),
        Op::ReadWord { var: v, .. } => format!("{name} {}", var(v)),
        Op::Let { var: v, .. }
        | Op::Assign { var: v, .. }
        | Op::For { var: v, .. }
        | Op::LoadIndex { var: v, .. }
        | Op::Shuffle { var: v, .. }
        | Op::Ballot { var: v, .. } => format!("{name} {}", var(v)),
        Op::CopyTile { to, .. } | Op::StoreStaging { to, .. } => {
            format!("{name} {}", body.shared[to.tile.0 as usize].name)
        }
        Op::BeginStaging { fragment: f, .. }
        | Op::LoadStaging { to: f, .. }
        | Op::LoadMatrix { to: f, .. }
        | Op::LoadScales(LoadScales { to: f, .. })
        | Op::ReadScales(ReadScales { to: f, .. })
        | Op::Zero { fragment: f } => {
            format!("{name} {}", fragment(f))
        }
        Op::Rows(step) => step.tile().map_or(name.to_owned(), |t| format!("{name} {}", tile(t))),
        Op::Quantize(step) => step.fragment().map_or(name.to_owned(), |f| format!("{name} {}", fragment(&f))),
        _ => name.to_owned(),
    }
}

/// The block that holds the statement of a path.
pub(super) fn block_mut<'b>(body: &'b mut Block, path: &[(usize, usize)]) -> Option<&'b mut Block> {
    let [(index, branch), rest @ ..] = path else { return None };
    if rest.is_empty() {
        return Some(body);
    }
    block_mut(body.0.get_mut(*index)?.op.blocks_mut().nth(*branch)?, rest)
}

/// The block that holds the statement of a path.
pub(super) fn block<'b>(body: &'b Block, path: &[(usize, usize)]) -> Option<&'b Block> {
    let [(index, branch), rest @ ..] = path else { return None };
    if rest.is_empty() {
        return Some(body);
    }
    block(body.0.get(*index)?.op.blocks().nth(*branch)?, rest)
}
