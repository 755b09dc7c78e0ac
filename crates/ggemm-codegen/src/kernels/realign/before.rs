//! [`Realigned`]: which operands of a product are copied to aligned rows before it.

use super::task::{RealignTask, Which};
use crate::contraction::Contraction;
use crate::problem::TensorShape;
use crate::spec::CopyPath;

/// The operands of a product that are copied before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Realigned {
    /// A is.
    pub a: bool,
    /// B is.
    pub b: bool,
}

impl Realigned {
    /// None is.
    pub const NONE: Realigned = Realigned { a: false, b: false };

    /// Those whose rows the copy engine cannot address; `None` where it addresses all, or where they cannot be copied.
    pub fn needed(problem: &Contraction) -> Option<Self> {
        let is_needed = |t: &TensorShape| t.stride_alignment() < CopyPath::Tma.required_alignment(t.dtype);
        let needed = Realigned { a: is_needed(&problem.a), b: is_needed(&problem.b) };
        let can_be = needed.tasks(problem).count() == needed.which().count();
        (needed != Realigned::NONE && can_be && needed.tasks(problem).all(|task| task.grid().is_some()))
            .then_some(needed)
    }

    /// Those that are.
    pub fn which(self) -> impl Iterator<Item = Which> {
        [(self.a, Which::A), (self.b, Which::B)].into_iter().filter_map(|(is, which)| is.then_some(which))
    }

    /// The copies.
    pub fn tasks(self, problem: &Contraction) -> impl Iterator<Item = RealignTask> {
        self.which().filter_map(|which| RealignTask::new(problem, which))
    }

    /// The product of the copies.
    pub fn product(self, problem: &Contraction) -> Contraction {
        let mut product = problem.clone();
        for task in self.tasks(problem) {
            *(if task.which() == Which::A { &mut product.a } else { &mut product.b }) = *task.copy();
        }
        product
    }

    /// Bytes that the copies take.
    pub fn bytes(self, problem: &Contraction) -> usize {
        self.tasks(problem).fold(0, |bytes, task| bytes.saturating_add(task.copy_bytes()))
    }
}
