//! Runs a case and holds it against what it promises.

use crate::compare::{Discrepancy, Mode};
use crate::random::{Tensors, Values};
use crate::reference::Reference;
use crate::verify::case::Case;
use crate::verify::failure::{Failure, Fault};
use crate::verify::ground::Ground;
use crate::verify::guard::{Guarded, Operands, first_difference};

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
        let tensors = self.tensors(values)?;
        let device = ground.device();
        let operands = Operands::new(&device, &tensors)?;
        let [_, _, name] = tensors.operation.tensor_names();
        let mut outputs = Vec::new();
        for plan in ground.plans(self)? {
            let mut out = Guarded::new(name, &device, &tensors.out)?;
            plan.run(operands.args(&tensors, &mut out)?)?;
            outputs.push(out.read()??);
        }
        if let Some(overwritten) = operands.changed()? {
            return Err(overwritten.into());
        }
        let Some((first, others)) = outputs.split_first() else { return Ok(Passed::default()) };
        let Tensors { lhs, rhs, groups, out, .. } = &tensors;
        let reference = Reference::compute(self.problem(), lhs, rhs, groups, out, &|_| ())?;
        let comparison = reference.compare(out, first, mode)?;
        if !comparison.pass() {
            return Err(Fault::Output(Box::new(comparison)));
        }
        for other in others {
            if let Some(index) = first_difference(first, other, 0..first.len())? {
                return Err(Fault::Moves { index });
            }
        }
        let worst_of_bound = comparison.worst.as_ref().map_or(0.0, Discrepancy::of_bound);
        Ok(Passed { worst_of_bound, elements: comparison.compared })
    }
}
