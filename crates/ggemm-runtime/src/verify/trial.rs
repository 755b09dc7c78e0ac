//! Runs a case and holds it against what it promises.

use crate::compare::{Discrepancy, Mode};
use crate::random::{Tensors, Values};
use crate::real::with_real;
use crate::reference::Reference;
use crate::verify::case::Case;
use crate::verify::failure::{Failure, Fault};
use crate::verify::ground::Ground;
use crate::verify::guard::{Operands, first_difference, guarded, to_host};

/// What a case that is right has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Passed {
    /// The largest error on real values, as a share of what an element may be off.
    pub worst_of_bound: f64,
    /// Elements that were compared, over both kinds of data.
    pub elements: usize,
}

impl Case {
    /// Runs the case with real values and with small integers, each more than once.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, ground: &Ground) -> Result<Passed, Box<Failure>> {
        let mut passed = Passed::default();
        for (values, mode) in [(Values::SmallIntegers, Mode::Exact), (Values::Normal, Mode::Bound)] {
            let fail = |fault| Box::new(Failure { case: self.clone(), mode, fault });
            let part = self.check_data(ground, values, mode).map_err(fail)?;
            passed.elements += part.elements;
            passed.worst_of_bound = passed.worst_of_bound.max(part.worst_of_bound);
        }
        Ok(passed)
    }

    fn check_data(&self, ground: &Ground, values: Values, mode: Mode) -> Result<Passed, Fault> {
        let tensors = self.guarded_tensors(values)?;
        let device = ground.device();
        let operands = Operands::new(&device, &tensors)?;
        let mut outputs = Vec::new();
        for plan in ground.plans(self)? {
            let mut out = tensors.out.copy_to(&device)?;
            plan.run(operands.args(&tensors, &mut out))?;
            outputs.push(to_host(&out)?);
        }
        if let Some((tensor, index)) = operands.changed()? {
            return Err(Fault::Overwritten { tensor, index });
        }
        let Some((first, others)) = outputs.split_first() else { return Ok(Passed::default()) };
        let Tensors { lhs, rhs, groups, out, .. } = &tensors;
        let reference = Reference::compute(self.problem(), lhs, rhs, groups, out, &|_| ())?;
        let comparison = reference.compare(out, first, mode)?;
        if !comparison.pass() {
            return Err(Fault::Output(Box::new(comparison)));
        }
        for other in others {
            if let Some(index) = first_difference(first, other)? {
                return Err(Fault::Moves { index });
            }
        }
        let worst_of_bound = comparison.worst.as_ref().map_or(0.0, Discrepancy::of_bound);
        Ok(Passed { worst_of_bound, elements: comparison.compared })
    }

    /// The tensors, each matrix with a guard behind it.
    fn guarded_tensors(&self, values: Values) -> Result<Tensors, Fault> {
        let mut tensors = self.tensors(values)?;
        with_real!(self.problem().operand, T => {
            tensors.lhs = guarded::<T>(&tensors.lhs)?;
            tensors.rhs = guarded::<T>(&tensors.rhs)?;
        });
        with_real!(self.problem().output, T => tensors.out = guarded::<T>(&tensors.out)?);
        Ok(tensors)
    }
}
