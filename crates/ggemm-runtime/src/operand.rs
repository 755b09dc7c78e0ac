//! What a product multiplies.

use crate::buffer::View;

/// An operand: its elements, and of fp8 its scales. Whatever is a [`View`] is an operand without scales.
///
/// ```
/// use ggemm_runtime::{Args, Device, Dtype, Operand, Planner, Problem, Scaling, bf16, e4m3};
/// let problem = Problem::forward(2, 3, 1, 2).operand(Dtype::E4m3).scaling(Scaling::Row);
/// let plan = Planner::new(Device::cpu()).plan(&problem)?;
/// let (x, x_scale) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(e4m3::from_f32), [1.0_f32, 0.5, 2.0]); // a scale for each row
/// let (w, w_scale) = ([1.0, 1.0, 1.0, -1.0].map(e4m3::from_f32), [10.0_f32, 1.0]); // and for each row of each weight
/// let mut y = [bf16::ZERO; 3];
/// plan.run(Args::forward(Operand::scaled(&x, &x_scale), Operand::scaled(&w, &w_scale), &[2_i32, 1], &mut y))?;
/// assert_eq!(y.map(bf16::to_f32), [30.0, 35.0, -2.0]);
/// # Ok::<(), ggemm_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Operand<'a> {
    pub(crate) elements: View<'a>,
    pub(crate) scales: Option<View<'a>>,
}

impl<'a> Operand<'a> {
    /// Elements of fp8, each of which stands for its value times an f32 of `scales`. How these lie follows from the
    /// problem: [`Problem::scales`](crate::Problem::scales).
    pub fn scaled(elements: impl Into<View<'a>>, scales: impl Into<View<'a>>) -> Self {
        Operand { elements: elements.into(), scales: Some(scales.into()) }
    }
}

impl<'a, V: Into<View<'a>>> From<V> for Operand<'a> {
    fn from(elements: V) -> Self {
        Operand { elements: elements.into(), scales: None }
    }
}
