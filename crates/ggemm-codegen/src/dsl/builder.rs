//! [`KernelBuilder`]: declares what a kernel has and records what it does.

use std::panic::Location as Caller;

use super::partial::SumSlots;
use super::products::WarpgroupSums;
use super::prune;
use super::scalar::{Arena, Bool, Cta, Expr, Grid, I32, I64, Lane, Operand, Scalar, ScopeTag, U32, Var, Warp, Within};
use super::tiles::Pointer;
use super::verify::{self, KernelDefect};
use crate::dtype::Dtype;
use crate::ir::{
    BARRIER_BYTES, Barrier, BarrierId, Block, Body, Builtin, Contract, Expressions, Fragment, FragmentId, FragmentRole,
    GridRule, Kernel, Location, LoopWork, Op, Param, ParamId, ParamRole, ParamType, PartialSums, ScalarVar, Scope,
    SharedId, SharedTile, ShuffleFrom, Stmt, StmtId, TensorMap, TensorMapId, VarId,
};
use crate::layout::{Layout, ThreadValueMap};

/// Declares what a kernel has and records what it does.
pub struct KernelBuilder<'k> {
    arena: &'k Arena,
    name: String,
    summary: String,
    threads: u32,
    alignment: u32,
    d_alignment: Option<u32>,
    params: Vec<Param>,
    vars: Vec<ScalarVar>,
    shared: Vec<SharedTile>,
    shared_bytes: u32,
    barriers: Vec<Barrier>,
    tensor_maps: Vec<TensorMap>,
    cluster: u32,
    workspace_words: u32,
    partial_sums: Option<PartialSums>,
    dependent_launch: bool,
    resident: u32,
    fragments: Vec<Fragment>,
    /// The blocks that are open, innermost last.
    open: Vec<Block>,
    statements: u32,
}

impl KernelBuilder<'_> {
    /// Builds a kernel of `threads` threads a CTA whose operands' rows are aligned to `alignment` bytes.
    ///
    /// # Errors
    /// Every place where threads may disagree on reaching a statement that they must reach together, and every
    /// asynchronous operation that nothing waits for.
    pub fn build(
        name: &str,
        summary: &str,
        threads: u32,
        alignment: u32,
        write: impl for<'k> FnOnce(&mut KernelBuilder<'k>),
    ) -> Result<Kernel, Vec<KernelDefect>> {
        let arena = Arena::new(Expressions::default());
        let (mut kernel, block) = {
            let mut k = KernelBuilder {
                arena: &arena,
                name: name.to_owned(),
                summary: summary.to_owned(),
                threads,
                alignment,
                d_alignment: None,
                params: Vec::new(),
                vars: Vec::new(),
                shared: Vec::new(),
                shared_bytes: 0,
                barriers: Vec::new(),
                tensor_maps: Vec::new(),
                cluster: 1,
                workspace_words: 0,
                partial_sums: None,
                dependent_launch: false,
                resident: 1,
                fragments: Vec::new(),
                open: vec![Block::default()],
                statements: 0,
            };
            write(&mut k);
            k.place_barriers();
            let block = k.open.pop().unwrap_or_default();
            let contract = Contract {
                name: k.name,
                params: k.params,
                tensor_maps: k.tensor_maps,
                threads,
                cluster: k.cluster,
                shared_bytes: k.shared_bytes,
                grid: GridRule::Persistent,
                workspace_bytes: u64::from(k.workspace_words) * 4,
                partial_sums: k.partial_sums,
                alignment,
                d_alignment: k.d_alignment,
                registers: 0,
                work: LoopWork::default(),
                dependent_launch: k.dependent_launch,
            };
            let body = Body {
                summary: k.summary,
                resident: k.resident,
                vars: k.vars,
                shared: k.shared,
                barriers: k.barriers,
                fragments: k.fragments,
                exprs: Expressions::default(),
                block: Block::default(),
            };
            (Kernel { contract, body }, block)
        };
        kernel.body.block = block;
        kernel.body.exprs = arena.into_inner();
        prune::unused_values(&mut kernel.body);
        let defects = verify::defects(&kernel);
        if !defects.is_empty() {
            return Err(defects);
        }
        let resources = crate::resources::of(&kernel);
        kernel.contract.registers = resources.registers;
        kernel.contract.work = resources.work;
        Ok(kernel)
    }
}

impl<'k> KernelBuilder<'k> {
    pub(super) fn arena(&self) -> &'k Arena {
        self.arena
    }

    /// Threads of a CTA.
    pub fn threads(&self) -> u32 {
        self.threads
    }

    /// Rows of D are aligned to `bytes` alone.
    pub fn rows_of_d_aligned_to(&mut self, bytes: u32) {
        self.d_alignment = Some(bytes);
    }

    /// The alignment in bytes of every row of the operands.
    pub fn alignment(&self) -> u32 {
        self.alignment
    }

    // ---- declarations ----

    fn param(&mut self, name: &str, ty: ParamType, role: ParamRole) -> ParamId {
        self.params.push(Param { name: name.to_owned(), ty, role });
        ParamId(self.params.len() as u32 - 1)
    }

    /// A pointer parameter to elements that are only read.
    pub fn input(&mut self, name: &str, dtype: Dtype, role: ParamRole) -> Pointer {
        Pointer(self.param(name, ParamType::Input(dtype), role))
    }

    /// A pointer parameter to elements that are written.
    pub fn output(&mut self, name: &str, dtype: Dtype, role: ParamRole) -> Pointer {
        Pointer(self.param(name, ParamType::Output(dtype), role))
    }

    /// A pointer parameter to i32 or i64.
    pub fn indices(&mut self, name: &str, role: ParamRole) -> Pointer {
        Pointer(self.param(name, ParamType::Indices, role))
    }

    /// A boolean parameter.
    pub fn flag(&mut self, name: &str, role: ParamRole) -> Expr<'k, Bool, Grid> {
        self.scalar_param(name, ParamType::Bool, role)
    }

    /// A 32-bit parameter.
    pub fn count(&mut self, name: &str, role: ParamRole) -> Expr<'k, I32, Grid> {
        self.scalar_param(name, ParamType::I32, role)
    }

    /// A 64-bit parameter.
    pub fn stride(&mut self, name: &str, role: ParamRole) -> Expr<'k, I64, Grid> {
        self.scalar_param(name, ParamType::I64, role)
    }

    fn scalar_param<T: Scalar>(&mut self, name: &str, ty: ParamType, role: ParamRole) -> Expr<'k, T, Grid> {
        let param = self.param(name, ty, role);
        Expr::new(self.arena, self.arena.borrow_mut().param(T::TYPE, param))
    }

    pub(super) fn declare_shared(&mut self, name: &str, dtype: Dtype, layout: Layout, slots: u32) -> SharedId {
        let offset = self.shared_bytes;
        self.shared_bytes += layout.bytes() * slots;
        self.shared.push(SharedTile { name: name.to_owned(), dtype, layout, slots, offset });
        SharedId(self.shared.len() as u32 - 1)
    }

    /// One that begins where another does, and is no larger.
    pub(super) fn declare_shared_in(&mut self, name: &str, dtype: Dtype, layout: Layout, of: SharedId) -> SharedId {
        let offset = self.shared[of.0 as usize].offset;
        self.shared.push(SharedTile { name: name.to_owned(), dtype, layout, slots: 1, offset });
        SharedId(self.shared.len() as u32 - 1)
    }

    /// Tiles that the copy engine or the tensor cores see start where the 128-byte swizzle does.
    pub(super) fn align_shared(&mut self, bytes: u32) {
        self.shared_bytes = self.shared_bytes.next_multiple_of(bytes);
    }

    pub(super) fn declare_barrier(&mut self, name: &str, slots: u32, arrivals: u32) -> BarrierId {
        self.barriers.push(Barrier { name: name.to_owned(), slots, arrivals, offset: 0 });
        BarrierId(self.barriers.len() as u32 - 1)
    }

    pub(super) fn declared_barriers(&self) -> u32 {
        self.barriers.len() as u32
    }

    /// Barriers come after all tiles, so that they cost no alignment.
    fn place_barriers(&mut self) {
        for barrier in &mut self.barriers {
            self.shared_bytes = self.shared_bytes.next_multiple_of(BARRIER_BYTES);
            barrier.offset = self.shared_bytes;
            self.shared_bytes += barrier.slots * BARRIER_BYTES;
        }
    }

    pub(super) fn declare_map(&mut self, name: &str, recipe: TensorMap, role: ParamRole) -> ParamId {
        self.tensor_maps.push(recipe);
        let id = TensorMapId(self.tensor_maps.len() as u32 - 1);
        self.param(name, ParamType::TensorMap(id), role)
    }

    /// The kernel's CTAs come in clusters of so many.
    pub fn clusters_of(&mut self, ctas: u32) {
        self.cluster = ctas;
    }

    /// The compiler sees to it that so many CTAs fit the registers of a multiprocessor.
    pub fn resident_ctas(&mut self, ctas: u32) {
        self.resident = ctas;
    }

    pub(super) fn may_overlap_earlier_grids(&mut self) {
        self.dependent_launch = true;
    }

    /// CTAs of a cluster.
    pub fn cluster_size(&self) -> u32 {
        self.cluster
    }

    /// A pointer parameter to `words` 32-bit words of workspace, which the launch finds at 0.
    pub fn workspace(&mut self, name: &str, words: u32) -> Pointer {
        self.workspace_words += words;
        Pointer(self.param(name, ParamType::Words, ParamRole::Workspace))
    }

    /// A slot for each CTA's sums of a tile, and words that say which hold any.
    pub fn sum_slots(&mut self, sums: WarpgroupSums) -> SumSlots {
        let map = &self.fragments[sums.id().0 as usize].map;
        let slot_bytes = map.thread_count() * map.value_count() * 4;
        // Each warpgroup that shares a tile says so by itself.
        self.partial_sums = Some(PartialSums { slot_bytes, words: map.threads[3].extent });
        SumSlots {
            sums: self.output("partial_sums", Dtype::F32, ParamRole::PartialSums),
            ready: Pointer(self.param("partial_sums_ready", ParamType::Words, ParamRole::PartialSumsReady)),
        }
    }

    pub(super) fn declare_fragment(
        &mut self,
        name: &str,
        dtype: Dtype,
        role: FragmentRole,
        map: ThreadValueMap,
        slots: u32,
    ) -> FragmentId {
        self.fragments.push(Fragment { name: name.to_owned(), dtype, role, map, slots });
        FragmentId(self.fragments.len() as u32 - 1)
    }

    // ---- scalars ----

    /// A constant.
    pub fn int(&self, value: i32) -> Expr<'k, I32, Grid> {
        Expr::new(self.arena, Operand::<I32>::expr(value, self.arena))
    }

    /// A 64-bit constant.
    pub fn long(&self, value: i64) -> Expr<'k, I64, Grid> {
        Expr::new(self.arena, Operand::<I64>::expr(value, self.arena))
    }

    /// What holds.
    pub fn always(&self) -> Expr<'k, Bool, Grid> {
        Expr::new(self.arena, self.arena.borrow_mut().constant(crate::ir::Type::Bool, 1))
    }

    /// The lane's index in its warp.
    pub fn lane(&self) -> Expr<'k, I32, Lane> {
        Expr::new(self.arena, self.arena.borrow_mut().builtin(Builtin::Lane))
    }

    /// The CTA's index in the grid.
    pub fn cta(&self) -> Expr<'k, I32, Cta> {
        Expr::new(self.arena, self.arena.borrow_mut().builtin(Builtin::Cta))
    }

    /// CTAs in the grid.
    pub fn cta_count(&self) -> Expr<'k, I32, Grid> {
        Expr::new(self.arena, self.arena.borrow_mut().builtin(Builtin::CtaCount))
    }

    fn declare<T: Scalar, S: ScopeTag>(&mut self, name: &str, mutable: bool) -> Var<'k, T, S> {
        let var = VarId(self.vars.len() as u32);
        self.vars.push(ScalarVar { name: name.to_owned(), ty: T::TYPE, scope: S::SCOPE, mutable });
        let value = Expr::new(self.arena, self.arena.borrow_mut().var(T::TYPE, S::SCOPE, var));
        Var { var, value }
    }

    pub(super) fn declare_value<T: Scalar, S: ScopeTag>(&mut self, name: &str) -> (VarId, Expr<'k, T, S>) {
        let var = self.declare(name, false);
        (var.var, var.get())
    }

    /// Gives a value a name.
    #[track_caller]
    pub fn let_<T: Scalar, S: ScopeTag>(&mut self, name: &str, value: Expr<'k, T, S>) -> Expr<'k, T, S> {
        let var = self.declare(name, false);
        self.push(Op::Let { var: var.var, value: value.id });
        var.get()
    }

    /// Declares a variable with its first value.
    #[track_caller]
    pub fn var<T: Scalar, S: ScopeTag, V>(&mut self, name: &str, value: V) -> Var<'k, T, S>
    where
        V: Operand<'k, T>,
        V::Scope: Within<S>,
    {
        let var = self.declare(name, true);
        let value = value.expr(self.arena);
        self.push(Op::Let { var: var.var, value });
        var
    }

    /// Assigns a variable.
    #[track_caller]
    pub fn set<T: Scalar, S: ScopeTag, V>(&mut self, var: Var<'k, T, S>, value: V)
    where
        V: Operand<'k, T>,
        V::Scope: Within<S>,
    {
        let value = value.expr(self.arena);
        self.push(Op::Assign { var: var.var, value });
    }

    /// Reads entry `index` of an array of i32 (or of i64, where `wide` holds); 0 where `guard` does not hold.
    #[track_caller]
    pub fn load_index(
        &mut self,
        name: &str,
        array: Pointer,
        index: Expr<'k, I32, Lane>,
        wide: Expr<'k, Bool, Grid>,
        guard: Expr<'k, Bool, Lane>,
    ) -> Expr<'k, I64, Lane> {
        let var = self.declare(name, false);
        self.push(Op::LoadIndex { var: var.var, pointer: array.0, index: index.id, wide: wide.id, guard: guard.id });
        var.get()
    }

    /// The value that the lane `below` places lower offers; the lowest lanes keep their own.
    #[track_caller]
    pub fn shuffle_up<T: Scalar>(&mut self, name: &str, value: Expr<'k, T, Lane>, below: u32) -> Expr<'k, T, Lane> {
        let var = self.declare(name, false);
        self.push(Op::Shuffle { var: var.var, value: value.id, from: ShuffleFrom::Below(below) });
        var.get()
    }

    /// The value that lane `lane` offers.
    #[track_caller]
    pub fn shuffle<T: Scalar, L>(&mut self, name: &str, value: Expr<'k, T, Lane>, lane: L) -> Expr<'k, T, Warp>
    where
        L: Operand<'k, I32>,
        L::Scope: Within<Warp>,
    {
        let lane = lane.expr(self.arena);
        let var = self.declare(name, false);
        self.push(Op::Shuffle { var: var.var, value: value.id, from: ShuffleFrom::Lane(lane) });
        var.get()
    }

    /// The lanes in which the predicate holds.
    #[track_caller]
    pub fn ballot(&mut self, name: &str, predicate: Expr<'k, Bool, Lane>) -> Expr<'k, U32, Warp> {
        let var = self.declare(name, false);
        self.push(Op::Ballot { var: var.var, predicate: predicate.id });
        var.get()
    }

    // ---- control ----

    /// Records a statement, with the line of Rust that asked for it.
    #[track_caller]
    pub(super) fn push(&mut self, op: Op) {
        let id = StmtId(self.statements);
        self.statements += 1;
        self.push_with(id, op);
    }

    #[track_caller]
    pub(super) fn push_with(&mut self, id: StmtId, op: Op) {
        let caller = Caller::caller();
        let location = Location { file: caller.file(), line: caller.line() };
        if let Some(block) = self.open.last_mut() {
            block.0.push(Stmt { id, location, op });
        }
    }

    pub(super) fn inside(&mut self, write: impl FnOnce(&mut Self)) -> Block {
        self.open.push(Block::default());
        write(self);
        self.open.pop().unwrap_or_default()
    }

    pub(super) fn next_id(&mut self) -> StmtId {
        self.statements += 1;
        StmtId(self.statements - 1)
    }

    /// A remark for readers of the text.
    #[track_caller]
    pub fn comment(&mut self, text: &str) {
        self.push(Op::Comment(text.to_owned()));
    }

    /// Does `then` where the condition holds.
    #[track_caller]
    pub fn when<S: ScopeTag>(&mut self, condition: Expr<'k, Bool, S>, then: impl FnOnce(&mut Self)) {
        self.when_else(condition, then, |_| {});
    }

    /// Does `then` where the condition holds, else `otherwise`.
    #[track_caller]
    pub fn when_else<S: ScopeTag>(
        &mut self,
        condition: Expr<'k, Bool, S>,
        then: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        let id = self.next_id();
        let (then, otherwise) = (self.inside(then), self.inside(otherwise));
        self.push_with(id, Op::If { condition: condition.id, then, otherwise });
    }

    /// A loop that counts from 0 up to and without `end`.
    #[track_caller]
    pub fn for_<S: ScopeTag>(
        &mut self,
        name: &str,
        end: Expr<'k, I32, S>,
        body: impl FnOnce(&mut Self, Expr<'k, I32, S>),
    ) {
        self.counted(name, end, false, body);
    }

    /// A loop over `0..count` that the compiler writes out.
    #[track_caller]
    pub fn unroll(&mut self, name: &str, count: u32, body: impl FnOnce(&mut Self, Expr<'k, I32, Grid>)) {
        let end = self.int(count as i32);
        self.counted(name, end, true, body);
    }

    #[track_caller]
    fn counted<S: ScopeTag>(
        &mut self,
        name: &str,
        end: Expr<'k, I32, S>,
        unroll: bool,
        body: impl FnOnce(&mut Self, Expr<'k, I32, S>),
    ) {
        let id = self.next_id();
        let var = self.declare::<I32, S>(name, true);
        let body = self.inside(|k| body(k, var.get()));
        self.push_with(id, Op::For { var: var.var, end: end.id, unroll, body });
    }

    /// A loop that only [`break_if`](Self::break_if) leaves.
    #[track_caller]
    pub fn loop_(&mut self, body: impl FnOnce(&mut Self)) {
        let id = self.next_id();
        let body = self.inside(body);
        self.push_with(id, Op::Loop { body });
    }

    /// Leaves the innermost [`loop_`](Self::loop_) where the condition holds.
    #[track_caller]
    pub fn break_if<S: ScopeTag>(&mut self, condition: Expr<'k, Bool, S>) {
        self.push(Op::Break { condition: condition.id });
    }

    /// The scope of a value, for messages and tests.
    pub fn scope_of<T: Scalar, S: ScopeTag>(&self, value: Expr<'k, T, S>) -> Scope {
        self.arena.borrow()[value.id].scope
    }
}
