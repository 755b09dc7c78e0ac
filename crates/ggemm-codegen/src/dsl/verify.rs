//! What a finished kernel must satisfy whatever its spec: threads that must meet do meet, variables are as uniform as
//! they say, and nothing asynchronous is left running.

use std::collections::BTreeMap;
use std::fmt;

use crate::descriptor;
use crate::geometry::SCALES_TOGETHER;
use crate::ir::{
    AddSums, Block, Body, BulkLoad, BulkStore, CopyScales, Kernel, Location, Op, ParamId, ParamType, ReadScales,
    RegisterBudget, Role, Scope, SendSums, TileRef, VarId, WarpgroupMultiply,
};
use crate::layout::SWIZZLE_ATOM_BYTES;

/// A defect of a kernel, with the line of Rust that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {kind}")]
pub struct KernelDefect {
    /// What is wrong.
    pub kind: DefectKind,
    /// Where it was written.
    pub location: At,
}

/// A place in the Rust source of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub Location);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file, self.0.line)
    }
}

/// What is wrong with a kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefectKind {
    /// Threads that must reach a statement together may not.
    #[error("`{statement}` must be reached by a whole {required}, but control here is only uniform in a {control}")]
    Divergent {
        /// The statement.
        statement: &'static str,
        /// The scope it needs.
        required: Scope,
        /// The scope in which control is uniform.
        control: Scope,
    },
    /// A variable is assigned where not all threads that share it arrive.
    #[error("`{variable}` is the same in a {required}, but is assigned where control is only uniform in a {control}")]
    DivergentAssignment {
        /// The variable.
        variable: String,
        /// Its scope.
        required: Scope,
        /// The scope in which control is uniform.
        control: Scope,
    },
    /// A variable gets a value that its threads need not agree on.
    #[error("`{variable}` is the same in a {required}, but gets a value that is only uniform in a {value}")]
    NarrowValue {
        /// The variable.
        variable: String,
        /// Its scope.
        required: Scope,
        /// The value's scope.
        value: Scope,
    },
    /// A `Break` outside any `Loop`.
    #[error("`break` outside a loop")]
    StrayBreak,
    /// A role stands inside something else than the kernel's own block.
    #[error("the role {role} is inside another statement, where not all its warps may arrive")]
    NestedRole {
        /// The role.
        role: String,
    },
    /// A role's warps are not the CTA's, or another role's that runs beside it.
    #[error("the role {role} has warps {first} to {last}, of which {problem}")]
    RoleWarps {
        /// The role.
        role: String,
        /// Its first warp.
        first: u32,
        /// Its last warp.
        last: u32,
        /// What is wrong with them.
        problem: &'static str,
    },
    /// A role changes its registers to a number that `setmaxnreg` does not take.
    #[error("the role {role} asks for {registers} registers: {rule}")]
    RoleRegisters {
        /// The role.
        role: String,
        /// How many.
        registers: u32,
        /// The rule.
        rule: &'static str,
    },
    /// A statement that all threads of the CTA (or the cluster) must reach stands inside a role.
    #[error("`{statement}` needs all threads of the {required}, and the role {role} has only some")]
    InRole {
        /// The statement.
        statement: &'static str,
        /// The threads it needs.
        required: Scope,
        /// The role.
        role: String,
    },
    /// A role assigns a variable that others hold as well.
    #[error("`{variable}` is declared outside the role {role}, whose warps alone would see the new value")]
    RoleAssignsOuter {
        /// The variable.
        variable: String,
        /// The role.
        role: String,
    },
    /// A statement that is one warpgroup's stands where warps are no whole warpgroups.
    #[error("`{statement}` is done by whole warpgroups, and the role {role} is not made of them")]
    NoWarpgroups {
        /// The statement.
        statement: &'static str,
        /// The role.
        role: String,
    },
    /// A named barrier that more warps may reach than it counts: it would let some of them go without their own.
    #[error("the barrier {id} counts {threads} threads, and the roles that reach it have {reaching}: {roles}")]
    CrowdedBarrier {
        /// The barrier.
        id: i64,
        /// Threads that complete it.
        threads: u32,
        /// Threads of the roles.
        reaching: u32,
        /// The roles.
        roles: String,
    },
    /// A tile that the copy engine or the tensor cores cannot take.
    #[error("the tile {tile} cannot be used by `{statement}`: {problem}")]
    Tile {
        /// The tile.
        tile: String,
        /// The statement.
        statement: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor map that does not fit its use.
    #[error("the tensor map {map} does not fit `{statement}`: {problem}")]
    TensorMap {
        /// The parameter.
        map: String,
        /// The statement.
        statement: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Copies that are never committed or never waited for.
    #[error("{operation} is started, but the kernel never {missing}")]
    NeverCompleted {
        /// The operation.
        operation: &'static str,
        /// What is missing.
        missing: &'static str,
    },
}

/// All defects of a kernel; empty for a right one.
pub fn defects(kernel: &Kernel) -> Vec<KernelDefect> {
    let mut check =
        Check { kernel, found: Vec::new(), role: None, declared_outside: Vec::new(), at_barriers: BTreeMap::new() };
    check.block(&kernel.body.block, Scope::Grid, false);
    check.crowded_barriers();
    let mut found = check.found;
    check_completion(&kernel.body, &mut found);
    found
}

struct Check<'a> {
    kernel: &'a Kernel,
    found: Vec<KernelDefect>,
    /// The role at hand.
    role: Option<&'a Role>,
    /// Variables that were declared before the role began.
    declared_outside: Vec<VarId>,
    /// Who reaches each named barrier.
    at_barriers: BTreeMap<i64, AtBarrier<'a>>,
}

/// The roles that reach a named barrier, of those that know its number while the kernel is written.
struct AtBarrier<'a> {
    roles: Vec<&'a Role>,
    /// The fewest threads that any of them says complete it.
    threads: u32,
    /// Where.
    location: Location,
}

impl<'a> Check<'a> {
    fn block(&mut self, block: &'a Block, control: Scope, in_loop: bool) {
        let body = &self.kernel.body;
        let scope_of = |id| body.exprs[id].scope;
        // The warps of the roles that stand side by side here.
        let mut beside: Vec<u32> = Vec::new();
        for stmt in &block.0 {
            if !matches!(stmt.op, Op::Role(_) | Op::Comment(_)) {
                beside.clear();
            }
            self.statement(stmt, control);
            match &stmt.op {
                Op::If { condition, then, otherwise } => {
                    let inner = control.min(scope_of(*condition));
                    self.block(then, inner, in_loop);
                    self.block(otherwise, inner, in_loop);
                }
                Op::For { end, body: inside, .. } => self.block(inside, control.min(scope_of(*end)), false),
                Op::Loop { body: inside } => {
                    // Who leaves early misses every later iteration, so a break narrows the whole loop.
                    let inner = break_scope(body, inside, control);
                    self.block(inside, inner, true);
                }
                Op::Break { .. } if !in_loop => self.defect(stmt.location, DefectKind::StrayBreak),
                Op::Elect { body: inside } => self.block(inside, Scope::Lane, false),
                Op::Role(role) => self.role(role, stmt.location, &mut beside),
                _ => {}
            }
        }
    }

    fn defect(&mut self, location: Location, kind: DefectKind) {
        self.found.push(KernelDefect { kind, location: At(location) });
    }

    fn statement(&mut self, stmt: &'a crate::ir::Stmt, control: Scope) {
        let body = &self.kernel.body;
        let (required, statement) = (stmt.op.required_scope(), stmt.op.name());
        if control < required && !matches!(stmt.op, Op::Role(_)) {
            self.defect(stmt.location, DefectKind::Divergent { statement, required, control });
        }
        if let Some(role) = self.role {
            if required >= Scope::Cta && !matches!(stmt.op, Op::Role(_)) {
                let role = role.name.clone();
                self.defect(stmt.location, DefectKind::InRole { statement, required, role });
            }
            if required == Scope::Warpgroup && !(role.first_warp.is_multiple_of(4) && role.warps.is_multiple_of(4)) {
                self.defect(stmt.location, DefectKind::NoWarpgroups { statement, role: role.name.clone() });
            }
        }
        match &stmt.op {
            Op::Let { var, value } | Op::Assign { var, value } => {
                let v = &body.vars[var.0 as usize];
                // The grid never assigns: no thread of another CTA can see a variable.
                let scope = v.scope.min(Scope::Cta);
                let assigns = matches!(stmt.op, Op::Assign { .. });
                if assigns && control < scope {
                    let kind = DefectKind::DivergentAssignment { variable: v.name.clone(), required: scope, control };
                    self.defect(stmt.location, kind);
                }
                let value = body.exprs[*value].scope;
                if value < v.scope {
                    let kind = DefectKind::NarrowValue { variable: v.name.clone(), required: v.scope, value };
                    self.defect(stmt.location, kind);
                }
                match self.role {
                    Some(role) if assigns && self.declared_outside.contains(var) => {
                        let kind = DefectKind::RoleAssignsOuter { variable: v.name.clone(), role: role.name.clone() };
                        self.defect(stmt.location, kind);
                    }
                    None if !assigns => self.declared_outside.push(*var),
                    _ => {}
                }
            }
            Op::BulkLoad(BulkLoad { map, coordinates, to: tile, .. })
            | Op::BulkStore(BulkStore { map, coordinates, from: tile, .. }) => {
                self.bulk_tile(stmt.location, statement, tile);
                self.tensor_map(stmt.location, statement, *map, coordinates.len(), tile);
            }
            Op::NamedBarrier { id, threads, .. } => {
                if let (Some(id), Some(role)) = (body.exprs.as_constant(*id), self.role) {
                    let new = AtBarrier { roles: Vec::new(), threads: *threads, location: stmt.location };
                    let at = self.at_barriers.entry(id).or_insert(new);
                    if *threads < at.threads {
                        (at.threads, at.location) = (*threads, stmt.location);
                    }
                    if !at.roles.iter().any(|known| std::ptr::eq(*known, role)) {
                        at.roles.push(role);
                    }
                }
            }
            Op::WarpgroupMultiply(product) => self.product(stmt.location, product),
            Op::SendSums(SendSums { from: part, to: tile, .. }) | Op::AddSums(AddSums { to: part, from: tile }) => {
                let values = &body.fragments[part.fragment.0 as usize].map.values;
                let tile = &body.shared[tile.tile.0 as usize];
                let (rows, cols) = tile.layout.shape();
                let threads = crate::geometry::THREADS_OF_WARPGROUP;
                let fits = part.block < values[3].extent && part.first + rows / threads <= values[2].extent;
                if cols != 4 || !rows.is_multiple_of(threads) || !fits {
                    let problem = format!("[{rows}, {cols}] is no part of the sums from 8 columns {} on", part.first);
                    self.defect(stmt.location, DefectKind::Tile { tile: tile.name.clone(), statement, problem });
                }
            }
            Op::CopyScales(CopyScales { to: tile, .. }) | Op::ReadScales(ReadScales { from: tile, .. }) => {
                let tile = &body.shared[tile.tile.0 as usize];
                let (rows, cols) = tile.layout.shape();
                let divides = rows < 32 || rows.is_multiple_of(32);
                if cols != SCALES_TOGETHER || !divides || tile.layout.element_bytes != 4 {
                    let problem = format!("[{rows}, {cols}] are no scales that a warp copies");
                    self.defect(stmt.location, DefectKind::Tile { tile: tile.name.clone(), statement, problem });
                }
            }
            Op::StoreFragment { from, to, col, transposed, .. } => {
                let n = body.fragments[from.0 as usize].map.values[2].extent * crate::geometry::MMA_N;
                let tile = &body.shared[to.tile.0 as usize];
                let (rows, cols) = tile.layout.shape();
                let across = if *transposed { rows } else { cols };
                if !across.is_multiple_of(8) || !col.is_multiple_of(8) || col + across > n {
                    let problem = format!("{across} columns from column {col} on are not 8 at a time of its {n}");
                    self.defect(stmt.location, DefectKind::Tile { tile: tile.name.clone(), statement, problem });
                }
            }
            _ => {}
        }
    }

    fn role(&mut self, role: &'a Role, location: Location, beside: &mut Vec<u32>) {
        let name = || role.name.clone();
        let outer = self.role;
        if !self.may_stand_here(role) {
            self.defect(location, DefectKind::NestedRole { role: name() });
        }
        let range = role.first_warp..role.first_warp + role.warps;
        let in_launch = range.end * 32 <= self.kernel.contract.threads && role.warps > 0;
        let problem = if !in_launch {
            Some("some do not exist")
        } else if range.clone().any(|w| beside.contains(&w)) {
            Some("some have another role at the same time")
        } else {
            None
        };
        if let Some(problem) = problem {
            let (first, last) = (range.start, range.end.saturating_sub(1));
            self.defect(location, DefectKind::RoleWarps { role: name(), first, last, problem });
        }
        beside.extend(range);
        if let RegisterBudget::Shrink(registers) | RegisterBudget::Grow(registers) = role.registers {
            let rule = if !(24..=256).contains(&registers) || !registers.is_multiple_of(8) {
                Some("it must be a multiple of 8 from 24 to 256")
            } else if !(role.first_warp.is_multiple_of(4) && role.warps.is_multiple_of(4)) {
                Some("only whole warpgroups change theirs")
            } else {
                None
            };
            if let Some(rule) = rule {
                self.defect(location, DefectKind::RoleRegisters { role: name(), registers, rule });
            }
        }
        self.role = Some(role);
        self.block(&role.body, Scope::Cta, false);
        self.role = outer;
    }

    /// Each named barrier counts all threads of the roles that reach it: roles that share one by mistake may be let go by
    /// each other's warps, and that only shows when they come at the same time.
    fn crowded_barriers(&mut self) {
        for (id, AtBarrier { roles, threads, location }) in std::mem::take(&mut self.at_barriers) {
            let reaching = 32 * roles.iter().map(|role| role.warps).sum::<u32>();
            if roles.len() > 1 && reaching > threads {
                let roles = roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>().join(", ");
                self.defect(location, DefectKind::CrowdedBarrier { id, threads, reaching, roles });
            }
        }
    }

    /// Whether a role stands in the kernel's own block, or as one of those that another role there consists of.
    fn may_stand_here(&self, role: &Role) -> bool {
        let stands_in = |block: &Block| block.0.iter().any(|s| matches!(&s.op, Op::Role(r) if std::ptr::eq(r, role)));
        let Some(outer) = self.role else { return stands_in(&self.kernel.body.block) };
        let of_roles = outer.body.0.iter().all(|s| matches!(s.op, Op::Role(_) | Op::Comment(_)));
        let inside =
            role.first_warp >= outer.first_warp && role.first_warp + role.warps <= outer.first_warp + outer.warps;
        let outermost = |s: &crate::ir::Stmt| matches!(&s.op, Op::Role(r) if std::ptr::eq(r, outer));
        stands_in(&outer.body)
            && of_roles
            && inside
            && role.registers == RegisterBudget::Launch
            && self.kernel.body.block.0.iter().any(outermost)
    }

    fn bulk_tile(&mut self, location: Location, statement: &'static str, tile: &TileRef) {
        let t = &self.kernel.body.shared[tile.tile.0 as usize];
        let apart = if t.slots > 1 { t.layout.bytes() } else { 0 };
        let needed = if t.layout.swizzle.bits == 3 { SWIZZLE_ATOM_BYTES } else { 128 };
        if !t.offset.is_multiple_of(needed) || !apart.is_multiple_of(needed) {
            let problem = format!("it does not start at a multiple of {needed} bytes");
            self.defect(location, DefectKind::Tile { tile: t.name.clone(), statement, problem });
        }
    }

    /// The box is one panel of the tile.
    fn tensor_map(
        &mut self,
        location: Location,
        statement: &'static str,
        map: ParamId,
        coordinates: usize,
        tile: &TileRef,
    ) {
        let contract = &self.kernel.contract;
        let param = &contract.params[map.0 as usize];
        let t = &self.kernel.body.shared[tile.tile.0 as usize];
        let recipe = match param.ty {
            ParamType::TensorMap(id) => contract.tensor_maps.get(id.0 as usize),
            _ => None,
        };
        let (rows, _) = t.layout.shape();
        let panel = t.layout.cols.0.first().map_or(0, |d| d.extent);
        let problem = match recipe {
            None => Some("the parameter is no tensor map".to_owned()),
            Some(r) if r.rank() != coordinates => Some(format!("{coordinates} coordinates for a rank of {}", r.rank())),
            Some(r) if !(2..=5).contains(&r.rank()) => Some(format!("a rank of {}", r.rank())),
            Some(r) if r.dtype != t.dtype => Some(format!("{} in a tile of {}", r.dtype, t.dtype)),
            Some(r) if r.dims[0].count != panel || r.dims[1].count > rows => {
                let (c, r) = (r.dims[0].count, r.dims[1].count);
                Some(format!("a box of {r} x {c} in panels of {rows} x {panel}"))
            }
            Some(r) if r.dims[1].count != rows && !r.dims[1].count.is_multiple_of(8) => {
                Some(format!("boxes of {} rows cut through the swizzle", r.dims[1].count))
            }
            Some(r) if r.dims.iter().any(|d| d.count > 256) => Some("a side of the box is over 256".to_owned()),
            Some(r) if r.swizzle_bytes != t.layout.rows.0[0].stride && t.layout.swizzle.bits > 0 => {
                Some("another swizzle".to_owned())
            }
            Some(_) => None,
        };
        if let Some(problem) = problem {
            self.defect(location, DefectKind::TensorMap { map: param.name.clone(), statement, problem });
        }
    }

    fn product(&mut self, location: Location, product: &WarpgroupMultiply) {
        let statement = "warpgroup_multiply";
        let body = &self.kernel.body;
        let accumulator = &body.fragments[product.accumulator.0 as usize];
        let (n, rows) = (product.width(accumulator), product_rows(&accumulator.map));
        let operands = [(product.a, product.a_is_mn_major, rows), (product.b, product.b_is_mn_major, n)];
        let [a, b] = operands.map(|(tile, ..)| body.shared[tile.tile.0 as usize].dtype);
        if a != b && !(a.is_fp8() && b.is_fp8()) {
            let tile = body.shared[product.b.tile.0 as usize].name.clone();
            let problem = format!("it is {b}, and the other operand {a}");
            self.defect(location, DefectKind::Tile { tile, statement, problem });
        }
        for (tile, mn_major, side) in operands {
            self.bulk_tile(location, statement, &tile);
            let t = &self.kernel.body.shared[tile.tile.0 as usize];
            let (r, c) = t.layout.shape();
            let has = if mn_major { c } else { r };
            let problem = match descriptor::of(&t.layout, mn_major) {
                Err(why) => Some(why.to_string()),
                Ok(_) if has < side => Some(format!("it has {has} of the accumulator's {side}")),
                Ok(_) if n > descriptor::WGMMA_MAX_N => Some(format!("{n} columns are more than a product has")),
                Ok(_) if n == 0 || n % 8 != 0 => Some(format!("{n} columns are no multiple of 8")),
                Ok(_) if n > accumulator.map.values[2].extent * 8 => {
                    Some(format!("{n} columns are more than the accumulator has"))
                }
                Ok(_) => None,
            };
            if let Some(problem) = problem {
                self.defect(location, DefectKind::Tile { tile: t.name.clone(), statement, problem });
            }
        }
    }
}

/// Rows of the whole accumulator.
fn product_rows(map: &crate::layout::ThreadValueMap) -> u32 {
    let along = |m: &crate::layout::Mode| (m.extent - 1) * m.row;
    1 + map.threads.iter().chain(&map.values).map(along).sum::<u32>()
}

/// The scope in which all threads make the same number of iterations.
fn break_scope(body: &Body, block: &Block, control: Scope) -> Scope {
    let mut scope = control;
    for stmt in &block.0 {
        match &stmt.op {
            Op::Break { condition } => scope = scope.min(body.exprs[*condition].scope),
            Op::If { condition, then, otherwise } => {
                let inner = control.min(body.exprs[*condition].scope);
                for branch in [then, otherwise] {
                    if contains_break(branch) {
                        scope = scope.min(break_scope(body, branch, inner)).min(inner);
                    }
                }
            }
            _ => {}
        }
    }
    scope
}

fn contains_break(block: &Block) -> bool {
    block.0.iter().any(|s| match &s.op {
        Op::Break { .. } => true,
        Op::If { then, otherwise, .. } => contains_break(then) || contains_break(otherwise),
        _ => false,
    })
}

fn check_completion(body: &Body, found: &mut Vec<KernelDefect>) {
    #[derive(Default)]
    struct Group {
        started: Option<(&'static str, Location)>,
        committed: bool,
        awaited: bool,
    }
    let mut groups: [Group; 3] = Default::default();
    body.for_each_stmt(|s| {
        let kind = match s.op {
            Op::CopyTile { .. } | Op::CommitCopies | Op::AwaitCopies { .. } => 0,
            Op::WarpgroupMultiply(_) | Op::CommitProducts | Op::AwaitProducts { .. } => 1,
            Op::BulkStore(_) | Op::CommitStores | Op::AwaitStores { .. } => 2,
            _ => return,
        };
        let group = &mut groups[kind];
        match s.op {
            Op::CommitCopies | Op::CommitProducts | Op::CommitStores => group.committed = true,
            Op::AwaitCopies { .. } | Op::AwaitProducts { .. } | Op::AwaitStores { .. } => group.awaited = true,
            _ => group.started = group.started.or(s.op.asynchrony().map(|a| (a.operation, s.location))),
        }
    });
    for Group { started, committed, awaited } in groups {
        let Some((operation, location)) = started else { continue };
        for (done, missing) in [(committed, "commits a group"), (awaited, "waits for a group")] {
            if !done {
                found.push(KernelDefect {
                    kind: DefectKind::NeverCompleted { operation, missing },
                    location: At(location),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsl::KernelBuilder;

    fn kinds(write: impl for<'k> FnOnce(&mut KernelBuilder<'k>)) -> Vec<DefectKind> {
        match KernelBuilder::build("k", "a test", 128, 16, write) {
            Ok(_) => Vec::new(),
            Err(defects) => defects.into_iter().map(|d| d.kind).collect(),
        }
    }

    #[test]
    fn a_barrier_under_a_lane_condition_is_refused() {
        let found = kinds(|k| {
            let odd = (k.lane() % 2).equals(1);
            k.when(odd, |k| k.barrier());
        });
        assert_eq!(found, [DefectKind::Divergent { statement: "barrier", required: Scope::Cta, control: Scope::Lane }]);
        let agreed = kinds(|k| {
            let first = k.cta().equals(0);
            k.when(first, |k| k.barrier());
        });
        assert_eq!(agreed, []);
    }

    #[test]
    fn a_loop_that_lanes_leave_apart_is_divergent_from_its_start() {
        let found = kinds(|k| {
            let lane = k.lane();
            k.loop_(|k| {
                k.barrier();
                k.break_if(lane.lt(3));
            });
            k.barrier();
        });
        assert_eq!(found.len(), 1, "the barrier after the loop is fine: {found:?}");
    }

    #[test]
    fn a_warp_variable_assigned_by_some_lanes_is_refused() {
        let found = kinds(|k| {
            let v = k.var::<crate::dsl::I32, crate::dsl::Warp, _>("v", 0);
            let lane = k.lane();
            k.when(lane.lt(3), |k| k.set(v, 1));
        });
        assert!(
            matches!(&found[..], [DefectKind::DivergentAssignment { variable, .. }] if variable == "v"),
            "{found:?}"
        );
    }

    #[test]
    fn a_barrier_of_one_role_is_no_other_roles() {
        let apart = |second: i32| {
            kinds(|k| {
                k.role("a", 0..2, RegisterBudget::Launch, |k| k.meet(1, 64));
                k.role("b", 2..4, RegisterBudget::Launch, |k| k.meet(second, 64));
            })
        };
        assert_eq!(apart(2), []);
        let roles = "a, b".to_owned();
        assert_eq!(apart(1), [DefectKind::CrowdedBarrier { id: 1, threads: 64, reaching: 128, roles }]);
        let together = kinds(|k| {
            k.role("a", 0..2, RegisterBudget::Launch, |k| k.pass(1, 128));
            k.role("b", 2..4, RegisterBudget::Launch, |k| k.meet(1, 128));
        });
        assert_eq!(together, []);
    }

    #[test]
    fn a_stray_break_and_a_location_are_reported() {
        let defects = KernelBuilder::build("k", "a test", 128, 16, |k| {
            let c = k.cta().equals(0);
            k.break_if(c);
        })
        .unwrap_err();
        assert_eq!(defects[0].kind, DefectKind::StrayBreak);
        assert!(defects[0].to_string().contains("verify.rs:"), "{}", defects[0]);
    }
}
