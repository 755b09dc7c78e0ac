//! [`RealignTask`]: a copy as the host sees it: which kernel, and what goes into its parameters.

use super::spec::RealignSpec;
use crate::contraction::Contraction;
use crate::geometry::{REALIGNED_COLS, realigned_rows};
use crate::ir::{ParamRole, RealignRole};
use crate::launch::{Argument, Operand};
use crate::problem::{GroupForm, IndexType, TensorShape};
use crate::spec::Ragged;

/// Bytes that rows of a copy are a multiple of: the copy engine is slower where rows are less.
const ROW_BYTES: usize = 128;

/// The operand of a contraction that is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// A.
    A,
    /// B.
    B,
}

/// One launch: an operand, and a copy of it whose rows the copy engine can address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealignTask {
    spec: RealignSpec,
    which: Which,
    source: TensorShape,
    copy: TensorShape,
    /// Matrices are those of groups: so many entries, of this form and type.
    groups: Option<(usize, GroupForm, IndexType)>,
}

impl RealignTask {
    /// Copies an operand of `problem`; `None` where its elements are none that are copied.
    pub fn new(problem: &Contraction, which: Which) -> Option<Self> {
        let source = match which {
            Which::A => problem.a,
            Which::B => problem.b,
        };
        let spec = RealignSpec::new(source.dtype)?;
        let row_stride = source.cols.next_multiple_of(ROW_BYTES / source.dtype.size_bytes() as usize);
        let has_groups = source.group_stride > 0;
        let group_stride = if has_groups { source.rows.saturating_mul(row_stride) } else { 0 };
        let is_of_groups = problem.ragged == Ragged::Rows && which == Which::B && has_groups;
        Some(RealignTask {
            spec,
            which,
            source,
            copy: TensorShape { row_stride, group_stride, ..source },
            groups: is_of_groups.then_some((problem.groups, problem.group_form, problem.group_index)),
        })
    }

    /// The kernel.
    pub fn spec(&self) -> &RealignSpec {
        &self.spec
    }

    /// Which operand is copied.
    pub fn which(&self) -> Which {
        self.which
    }

    /// What is copied.
    pub fn source(&self) -> &TensorShape {
        &self.source
    }

    /// The copy.
    pub fn copy(&self) -> &TensorShape {
        &self.copy
    }

    /// Bytes that the copy takes.
    pub fn copy_bytes(&self) -> usize {
        let matrices = if self.copy.group_stride > 0 { self.copy.groups } else { 1 };
        let rows = matrices.saturating_mul(self.copy.rows);
        rows.saturating_mul(self.copy.row_stride).saturating_mul(self.copy.dtype.size_bytes() as usize)
    }

    /// Matrices that are copied.
    fn matrices(&self) -> usize {
        if self.source.group_stride > 0 { self.source.groups } else { 1 }
    }

    /// CTAs to launch: one for each block, so that none waits for its next; 0 where there is nothing to copy. `None` where
    /// blocks are more than the kernel counts.
    pub fn grid(&self) -> Option<u32> {
        let rows = realigned_rows(self.spec.threads()) as usize;
        let of_each = self.source.rows.div_ceil(rows).checked_mul(self.source.cols.div_ceil(REALIGNED_COLS as usize));
        let blocks = of_each?.checked_mul(self.matrices())?;
        // A CTA adds the grid to its block's number.
        u32::try_from(blocks).ok().filter(|blocks| *blocks < 1 << 30)
    }

    /// The value that a parameter of this role takes.
    pub fn argument(&self, role: ParamRole) -> Argument {
        let size = |n: usize| Argument::Integer(n as i64);
        let flag = |on: bool| Argument::Integer(i64::from(on));
        let (count, form, index) = self.groups.unwrap_or((0, GroupForm::Sizes, IndexType::I32));
        match role {
            ParamRole::Groups => Argument::Pointer(Operand::Groups),
            ParamRole::GroupCount => size(count),
            ParamRole::GroupsAreEnds => flag(form == GroupForm::Ends),
            ParamRole::GroupsAreI64 => flag(index == IndexType::I64),
            ParamRole::Rows => size(self.source.rows),
            ParamRole::Cols => size(self.source.cols),
            ParamRole::Realign(role) => match role {
                RealignRole::Source => Argument::Pointer(Operand::Source),
                RealignRole::Copy => Argument::Pointer(Operand::Elements(0)),
                RealignRole::Matrices => size(self.matrices()),
                RealignRole::SkipEmpty => flag(self.groups.is_some()),
                RealignRole::SourceRowStride => size(self.source.row_stride),
                RealignRole::SourceGroupStride => size(self.source.group_stride),
                RealignRole::CopyRowStride => size(self.copy.row_stride),
                RealignRole::CopyGroupStride => size(self.copy.group_stride),
            },
            // No kernel that copies has a product's.
            _ => size(0),
        }
    }
}
