//! What a plan runs on.

use ggemm_codegen::Operation;

use crate::buffer::{View, ViewMut};
use crate::operand::Operand;

/// The tensors of one run, named for the operation.
///
/// ```
/// use ggemm_runtime::{Args, Device, Planner, Problem, bf16};
/// let problem = Problem::forward(2, 3, 1, 2);
/// let plan = Planner::new(Device::cpu()).plan(&problem)?;
/// let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(bf16::from_f32);
/// let w = [1.0, 1.0, 1.0, -1.0].map(bf16::from_f32);
/// let mut y = [bf16::ZERO; 3];
/// plan.run(Args::forward(&x, &w, &[2_i32, 1], &mut y))?;
/// assert_eq!(y.map(bf16::to_f32), [3.0, 7.0, -1.0]);
/// # Ok::<(), ggemm_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Args<'a> {
    pub(crate) operation: Operation,
    pub(crate) lhs: Operand<'a>,
    pub(crate) rhs: Operand<'a>,
    pub(crate) groups: View<'a>,
    pub(crate) out: ViewMut<'a>,
}

impl<'a> Args<'a> {
    /// y[M, N] = x[M, K] · w_gᵀ. `groups` holds the G sizes or ends.
    pub fn forward(
        x: impl Into<Operand<'a>>,
        w: impl Into<Operand<'a>>,
        groups: impl Into<View<'a>>,
        y: impl Into<ViewMut<'a>>,
    ) -> Self {
        Self::new(Operation::Forward, x, w, groups, y)
    }

    /// dx[M, K] = dy[M, N] · w_g. `groups` holds the G sizes or ends.
    pub fn grad_x(
        dy: impl Into<Operand<'a>>,
        w: impl Into<Operand<'a>>,
        groups: impl Into<View<'a>>,
        dx: impl Into<ViewMut<'a>>,
    ) -> Self {
        Self::new(Operation::GradX, dy, w, groups, dx)
    }

    /// dw_g = Σ over the rows of g of dyᵀ x, from dy[M, N] and x[M, K]. `groups` holds the G sizes or ends.
    pub fn grad_w(
        dy: impl Into<Operand<'a>>,
        x: impl Into<Operand<'a>>,
        groups: impl Into<View<'a>>,
        dw: impl Into<ViewMut<'a>>,
    ) -> Self {
        Self::new(Operation::GradW, dy, x, groups, dw)
    }

    /// The operation's first operand, its second operand, the groups and its output, for code that serves every
    /// operation alike.
    pub fn new(
        operation: Operation,
        lhs: impl Into<Operand<'a>>,
        rhs: impl Into<Operand<'a>>,
        groups: impl Into<View<'a>>,
        out: impl Into<ViewMut<'a>>,
    ) -> Self {
        Args { operation, lhs: lhs.into(), rhs: rhs.into(), groups: groups.into(), out: out.into() }
    }
}
