//! [`Task`]: a quantization as the host sees it: which kernel, and what goes into its parameters.

use super::spec::{Copy, Division, Form, QuantizeSpec};
use crate::arch::Arch;
use crate::dtype::Dtype;
use crate::ir::{ParamRole, QuantizeRole, SharedBy};
use crate::launch::{Argument, Operand};
use crate::problem::{GroupForm, IndexType, Operation, Problem, TensorShape, WeightLayout, WeightSharing};
use crate::scaling::{ScaleShape, Scaling};
use crate::spec::Ragged;

/// The bytes that rows are aligned to for whole accesses.
const ALIGNMENT: usize = 16;

/// CTAs of the largest grid.
const MOST_CTAS: u32 = i32::MAX as u32;

/// Groups that a warp finds with a look or two.
const FEW_GROUPS: usize = 64;

/// Where a quantized copy and its scales lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyShape {
    /// The copy, as a problem has it.
    pub elements: TensorShape,
    /// Its scales, as the problem has them.
    pub scales: ScaleShape,
    copy: Copy,
    /// Scales from one group, row and column (or block of them) of the source to the next.
    scale_strides: [usize; 3],
}

/// The groups that divide a source's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Groups {
    count: usize,
    form: GroupForm,
    index: IndexType,
    merged: bool,
}

/// One launch: a source, and one or two quantized copies of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    spec: QuantizeSpec,
    matrices: usize,
    rows: usize,
    cols: usize,
    groups: Option<Groups>,
    powers_of_two: bool,
    copies: Vec<CopyShape>,
}

impl Task {
    /// Quantizes the first (0) or second (1) operand of `problem` from elements of type `source`, a weight from `from`.
    /// `None` where the problem is not fp8 or `source` is not quantized.
    pub fn new(
        problem: &Problem,
        which: usize,
        source: Dtype,
        from: WeightLayout,
        powers_of_two: bool,
    ) -> Option<Self> {
        let (elements, scales) = (*problem.tensors().get(which)?, *problem.scales()?.get(which)?);
        let scaling = problem.scaling;
        let contraction = problem.contraction();
        let task = |form: Form, [matrices, rows, cols]: [usize; 3], groups, scale_strides| {
            let spec = QuantizeSpec::new(source, elements.dtype, form)?;
            let copies = vec![CopyShape { elements, scales, copy: form.copy, scale_strides }];
            Some(Task { spec, matrices, rows, cols, groups, powers_of_two, copies })
        };
        let ScaleShape { group_stride, outer_stride, reduction_stride, .. } = scales;
        if contraction.ragged == Ragged::Reduction {
            let copy = Copy { by: SharedBy::Column, transposed: problem.reduction_blocks };
            let groups = Groups {
                count: problem.groups,
                form: problem.group_form,
                index: problem.group_index,
                merged: problem.weight_sharing == WeightSharing::Shared,
            };
            let form = Form { scaling, ragged: true, copy, second: None };
            let cols = [problem.n, problem.k][which];
            let strides = [group_stride, reduction_stride, outer_stride];
            return task(form, [1, problem.m, cols], Some(groups), strides);
        }
        if which == 0 {
            let copy = Copy { by: SharedBy::Row, transposed: false };
            let form = Form { scaling, ragged: false, copy, second: None };
            let strides = [group_stride, outer_stride, reduction_stride];
            return task(form, [1, elements.rows, elements.cols], None, strides);
        }
        let is_nk = from == WeightLayout::Nk;
        let [rows, cols] = if is_nk { [problem.n, problem.k] } else { [problem.k, problem.n] };
        // forward reduces along K, grad_x along N.
        let rows_run_along = is_nk == (problem.operation == Operation::Forward);
        let by = match (scaling, rows_run_along) {
            (Scaling::Block, _) => SharedBy::Block,
            (_, true) => SharedBy::Row,
            (_, false) => SharedBy::Column,
        };
        let copy = Copy { by, transposed: from != problem.weight_layout };
        let form = Form { scaling, ragged: false, copy, second: None };
        let (row_stride, col_stride) =
            if rows_run_along { (outer_stride, reduction_stride) } else { (reduction_stride, outer_stride) };
        task(form, [elements.groups, rows, cols], None, [group_stride, row_stride, col_stride])
    }

    /// Both tasks as one, which reads the source once; `None` where they are of different sources, or where the scales of
    /// one need more of the source than those of the other.
    pub fn together(&self, other: &Task) -> Option<Self> {
        let (first, second) = (self.spec.form(), other.spec.form());
        let groups = match (self.groups, other.groups) {
            (Some(a), Some(b)) if a != b => return None,
            (a, b) => a.or(b),
        };
        let form = Form { ragged: groups.is_some(), second: Some(second.copy), ..first };
        let spec = QuantizeSpec::new(self.spec.source(), self.spec.format(), form)?;
        let source = |t: &Task| (t.spec.source(), t.spec.format(), t.spec.form().scaling, t.powers_of_two);
        let extents = |t: &Task| (t.matrices, t.rows, t.cols);
        let is_same = source(self) == source(other) && extents(self) == extents(other);
        let is_single = first.second.is_none() && second.second.is_none();
        let copies = self.copies.iter().chain(&other.copies).copied().collect();
        (is_same && is_single).then_some(Task { spec, groups, copies, ..self.clone() })
    }

    /// The same by the kernel that is best on `target`: one of clusters where rows or columns are longer than a CTA holds. Of
    /// groups, whose sizes nobody knows yet, the mean decides.
    pub fn on(self, target: Arch) -> Self {
        let (rows, matrices) = match self.groups {
            Some(groups) if groups.merged => (self.rows, 1),
            Some(groups) => (self.rows, groups.count.max(1)),
            None => (self.rows, 1),
        };
        let length = if self.spec.form().copy.by == SharedBy::Row { self.cols } else { rows.div_ceil(matrices) };
        Task { spec: self.spec.for_length(length, target), ..self }
    }

    /// The same with rows or columns that clusters divide so, or that no CTA shares; `None` where there is no such kernel.
    pub fn divided(self, division: Option<Division>) -> Option<Self> {
        Some(Task { spec: self.spec.divided(division)?, ..self })
    }

    /// The kernel.
    pub fn spec(&self) -> &QuantizeSpec {
        &self.spec
    }

    /// The copies.
    pub fn copies(&self) -> &[CopyShape] {
        &self.copies
    }

    /// Matrices of the source, and rows and columns of each.
    pub fn extents(&self) -> [usize; 3] {
        [self.matrices, self.rows, self.cols]
    }

    /// Elements of the source.
    pub fn source_elements(&self) -> usize {
        self.matrices.saturating_mul(self.rows).saturating_mul(self.cols)
    }

    /// Whether the kernel reads sizes or ends.
    pub fn has_groups(&self) -> bool {
        self.groups.is_some()
    }

    /// Whether rows of the source and of the copies start at multiples of 16 bytes where the tensors do, and consist of
    /// whole 16 bytes.
    pub fn is_aligned(&self) -> bool {
        let whole = |n: usize| n.is_multiple_of(ALIGNMENT);
        let copy = |c: &CopyShape| {
            let rows_are_columns = c.copy.transposed && self.groups.is_none();
            whole(c.elements.row_stride) && whole(c.elements.group_stride) && (!rows_are_columns || whole(self.rows))
        };
        whole(self.cols) && self.copies.iter().all(copy)
    }

    /// CTAs to launch where `resident` of the kernel run at once; 0 where there is nothing to write. One, or one cluster, for
    /// each job: those that begin while others end keep memory busier than CTAs that take one job after another. But where
    /// there are many groups, each CTA that looks for its own takes several jobs.
    pub fn grid(&self, resident: u32) -> u32 {
        let ctas = self.spec.ctas();
        let jobs = u32::try_from(self.most_jobs()).unwrap_or(u32::MAX).min(MOST_CTAS / ctas);
        let has_many_groups = self.groups.is_some_and(|groups| groups.count > FEW_GROUPS);
        let clusters = if has_many_groups { jobs.min((resident / ctas).max(1)) } else { jobs };
        clusters * ctas
    }

    /// The largest number of jobs that any sizes could make.
    fn most_jobs(&self) -> usize {
        let Form { scaling, copy, .. } = self.spec.form();
        let (rows_of_block, cols_of_block) = self.spec.block();
        let (rows_of_block, cols_of_block) = (rows_of_block as usize, cols_of_block as usize);
        let (along_rows, along_cols) = match scaling {
            Scaling::Row => (copy.by == SharedBy::Row, copy.by == SharedBy::Column),
            Scaling::None | Scaling::Block => (true, true),
        };
        let row_tiles = match self.groups {
            _ if !along_rows => 1,
            // Each group may add a block that is not full, and so may the tail, but a block has a row of its own.
            Some(groups) => self.rows.min(self.rows / rows_of_block + groups.count + 1),
            None => self.rows.div_ceil(rows_of_block),
        };
        let col_tiles = if along_cols { self.cols.div_ceil(cols_of_block) } else { 1 };
        let matrices = match self.groups {
            Some(groups) if !along_rows && groups.merged => groups.count.min(1),
            Some(groups) if !along_rows => groups.count,
            Some(_) => 1,
            None => self.matrices,
        };
        matrices.saturating_mul(row_tiles).saturating_mul(col_tiles)
    }

    /// The value that a parameter of this role takes; `aligned`: [`Task::is_aligned`], and the tensors themselves start at
    /// multiples of 16 bytes.
    pub fn argument(&self, role: ParamRole, aligned: bool) -> Argument {
        let size = |n: usize| Argument::Integer(n as i64);
        let flag = |on: bool| Argument::Integer(i64::from(on));
        let groups = |of: fn(&Groups) -> i64| Argument::Integer(self.groups.as_ref().map_or(0, of));
        match role {
            ParamRole::Groups => Argument::Pointer(Operand::Groups),
            ParamRole::GroupCount => groups(|g| g.count as i64),
            ParamRole::GroupsAreEnds => groups(|g| i64::from(g.form == GroupForm::Ends)),
            ParamRole::GroupsAreI64 => groups(|g| i64::from(g.index == IndexType::I64)),
            ParamRole::MergeGroups => groups(|g| i64::from(g.merged)),
            ParamRole::Rows => size(self.rows),
            ParamRole::Cols => size(self.cols),
            ParamRole::Quantize(role) => {
                let copy =
                    |number: u8, of: fn(&CopyShape) -> usize| size(self.copies.get(usize::from(number)).map_or(0, of));
                match role {
                    QuantizeRole::Source => Argument::Pointer(Operand::Source),
                    QuantizeRole::Matrices => size(self.matrices),
                    QuantizeRole::PowersOfTwo => flag(self.powers_of_two),
                    QuantizeRole::Aligned => flag(aligned),
                    QuantizeRole::Elements(number) => Argument::Pointer(Operand::Elements(number)),
                    QuantizeRole::RowStride(number) => copy(number, |c| c.elements.row_stride),
                    QuantizeRole::GroupStride(number) => copy(number, |c| c.elements.group_stride),
                    QuantizeRole::Scales(number) => Argument::Pointer(Operand::Scales(number)),
                    QuantizeRole::ScaleGroupStride(number) => copy(number, |c| c.scale_strides[0]),
                    QuantizeRole::ScaleRowStride(number) => copy(number, |c| c.scale_strides[1]),
                    QuantizeRole::ScaleColStride(number) => copy(number, |c| c.scale_strides[2]),
                }
            }
            // No kernel that quantizes has a product's.
            _ => size(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one CTA cannot hold a cluster divides, of as few CTAs as can, where there are clusters.
    #[test]
    fn clusters_divide_what_is_too_long() {
        let name = |problem: &Problem, which, target| {
            let task = Task::new(problem, which, Dtype::Bf16, WeightLayout::Nk, false).unwrap().on(target);
            task.spec().to_string()
        };
        let rows = |k| Problem::forward(3, 300, 144, k).operand(Dtype::E4m3).scaling(Scaling::Row);
        for (k, end) in [
            (0, "row_rows_sm89"),
            (6144, "row_rows_sm89"),
            (6145, "row_rows_w4_c4_sm90a"),
            (8192, "row_rows_w4_c4_sm90a"),
            (8193, "row_rows_w4_c8_sm90a"),
            (16_385, "row_rows_w8_c8_sm90a"),
            (1 << 20, "row_rows_w8_c8_sm90a"),
        ] {
            assert!(name(&rows(k), 0, Arch::Sm90a).ends_with(end), "{k}: {}", name(&rows(k), 0, Arch::Sm90a));
            assert!(name(&rows(k), 0, Arch::Sm100a).ends_with("row_rows_sm89"));
        }
        // Of groups the mean counts, and merged all rows.
        let reduction =
            |m| Problem::grad_w(4, m, 144, 160).operand(Dtype::E4m3).scaling(Scaling::Row).reduction_blocks(true);
        for (m, end) in [(4096, "colst_sm89"), (4097, "colst_w8_c4_sm90a"), (8193, "colst_w8_c8_sm90a")] {
            assert!(name(&reduction(m), 1, Arch::Sm90a).ends_with(end), "{m}");
        }
        let merged = reduction(4096).weight_sharing(WeightSharing::Shared);
        assert!(name(&merged, 1, Arch::Sm90a).ends_with("colst_w8_c8_sm90a"));
        // Blocks have all that their scales depend on.
        let blocks = rows(1 << 20).scaling(Scaling::Block);
        assert!(name(&blocks, 0, Arch::Sm90a).ends_with("block_rows_sm89"));
    }

    /// Grids are of whole clusters, whatever is resident.
    #[test]
    fn grids_are_of_whole_clusters() {
        for groups in [1, 65, 512] {
            let problem = Problem::grad_w(groups, 1 << 20, 144, 160).operand(Dtype::E4m3).scaling(Scaling::Row);
            let task = Task::new(&problem.reduction_blocks(true), 1, Dtype::F16, WeightLayout::Nk, false).unwrap();
            let task = task.on(Arch::Sm90a);
            let ctas = task.spec().ctas();
            assert!(ctas > 1);
            for resident in [0, 1, 7, 132, 527] {
                let grid = task.grid(resident);
                assert!(grid > 0 && grid.is_multiple_of(ctas), "{grid} CTAs in clusters of {ctas}");
            }
        }
    }

    /// Of one read of a block-scaled weight come forward's copy and grad_x', first the one that lies as the weight does.
    #[test]
    fn both_copies_of_a_weight_are_one_task() {
        for (from, other) in [(WeightLayout::Nk, WeightLayout::Kn), (WeightLayout::Kn, WeightLayout::Nk)] {
            let copy = |layout, scaling| {
                let problem = match layout {
                    WeightLayout::Nk => Problem::forward(3, 1, 144, 160),
                    WeightLayout::Kn => Problem::grad_x(3, 1, 144, 160),
                };
                let problem = problem.operand(Dtype::E4m3).scaling(scaling).weight_layout(layout);
                Task::new(&problem, 1, Dtype::Bf16, from, false).unwrap()
            };
            let both = copy(from, Scaling::Block).together(&copy(other, Scaling::Block)).unwrap();
            let transposed: Vec<bool> = both.spec().copies().map(|copy| copy.transposed).collect();
            assert_eq!(transposed, [false, true]);
            assert_eq!(both.copies().len(), 2);
            // Whole rows share a scale in one copy, whole columns in the other.
            assert!(copy(from, Scaling::Row).together(&copy(other, Scaling::Row)).is_none());
        }
    }

    /// Of one read of block-scaled tokens come the copy of forward or grad_x and grad_w's, of one weight for all groups too.
    #[test]
    fn both_copies_of_tokens_are_one_task() {
        let rows = [(Problem::forward(3, 300, 144, 160), 1), (Problem::grad_x(3, 300, 144, 160), 0)];
        for ((problem, of_grad_w), format) in rows.into_iter().zip([Dtype::E4m3, Dtype::E5m2]) {
            for sharing in [WeightSharing::PerExpert, WeightSharing::Shared] {
                let copy = |problem: &Problem, which, scaling| {
                    let problem = problem.clone().operand(format).scaling(scaling).weight_sharing(sharing);
                    Task::new(&problem, which, Dtype::Bf16, WeightLayout::Nk, false).unwrap()
                };
                let grad_w = Problem::grad_w(3, 300, 144, 160).reduction_blocks(true);
                let (first, second) = (copy(&problem, 0, Scaling::Block), copy(&grad_w, of_grad_w, Scaling::Block));
                let both = first.together(&second).unwrap();
                assert!(both.spec().to_string().contains("_block_ragged_rows_colst_"), "{}", both.spec());
                assert!(both.has_groups() && both.copies().len() == 2);
                // The one that lies as the source does comes first.
                assert!(second.together(&first).is_none());
                let (first, second) = (copy(&problem, 0, Scaling::Row), copy(&grad_w, of_grad_w, Scaling::Row));
                assert!(first.together(&second).is_none());
            }
        }
    }
}
