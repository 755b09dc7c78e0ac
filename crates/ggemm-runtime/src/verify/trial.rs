//! Runs a case and holds it against what it promises.

use ggemm_codegen::Arch;

use crate::buffer::Buffer;
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
        let [lhs, rhs, of_out] = self.offsets();
        let operands = Operands::new(&device, &tensors, [lhs, rhs])?;
        let [_, _, name] = tensors.operation.tensor_names();
        let mut outputs = Vec::new();
        for plan in ground.plans(self)? {
            let mut out = Guarded::at(of_out, name, &device, &tensors.out)?;
            plan.run(operands.args(&tensors, &mut out)?)?;
            outputs.push(out.read()??);
        }
        if let Some(overwritten) = operands.changed()? {
            return Err(overwritten.into());
        }
        self.judge(&tensors, &outputs, mode, device.arch())
    }

    /// Holds the outputs of several runs, on a GPU of this architecture if any, against the reference and against each other.
    fn judge(&self, tensors: &Tensors, outputs: &[Buffer], mode: Mode, gpu: Option<Arch>) -> Result<Passed, Fault> {
        let Some((first, others)) = outputs.split_first() else { return Ok(Passed::default()) };
        let Tensors { groups, out, .. } = tensors;
        let [lhs, rhs] = tensors.operands();
        let mut reference = Reference::compute(self.problem(), lhs.clone(), rhs.clone(), groups, out, &|_| ())?;
        if let (Some(arch), Mode::Bound) = (gpu, mode) {
            reference = reference.of_tensor_cores(arch, lhs, rhs)?;
        }
        let comparison = reference.compare(out, first, mode)?;
        if !comparison.pass() {
            return Err(Fault::Output(Box::new(comparison)));
        }
        for other in others {
            if let Some(index) = first_difference(first, other, 0..first.len())? {
                return Err(Fault::Moves { index });
            }
        }
        // Integers are right to the bit after rounding, which no share of a bound of 0 can say.
        let worst = comparison.worst.as_ref().filter(|_| mode == Mode::Bound);
        let worst_of_bound = worst.map_or(0.0, Discrepancy::of_bound);
        Ok(Passed { worst_of_bound, elements: comparison.compared })
    }
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::catalogue;
    use ggemm_codegen::scenario::Extent;

    use super::*;
    use crate::device::Device;
    use crate::element::with_element;
    use crate::planner::Planner;
    use crate::real::Real;

    /// What the CPU computes of the case; `None` where its groups contradict the problem, which the CPU refuses.
    fn computed(case: &Case, tensors: &Tensors) -> Option<Buffer> {
        let mut out = tensors.out.to_device(&Device::cpu()).unwrap();
        let plan = Planner::new(Device::cpu()).plan(case.problem()).unwrap();
        plan.run(tensors.args(&mut out)).ok().map(|()| out)
    }

    /// A copy in which one element is another value; `None` where no element was written.
    fn damaged(before: &Buffer, after: &Buffer) -> Option<Buffer> {
        fn replace<T: Real>(buffer: &mut Buffer, index: usize) {
            let element = &mut buffer.as_mut_slice::<T>().unwrap()[index];
            *element = T::from_f32(element.to_f64() as f32 * -1.5 + 77.0);
        }
        let index = first_difference(before, after, 0..before.len()).unwrap()?;
        let mut copy = after.to_device(&Device::cpu()).unwrap();
        crate::real::with_real!(match copy.element_type() {
            crate::ElementType::F16 => ggemm_codegen::Dtype::F16,
            crate::ElementType::F32 => ggemm_codegen::Dtype::F32,
            _ => ggemm_codegen::Dtype::Bf16,
        }, T => replace::<T>(&mut copy, index));
        Some(copy)
    }

    /// What fp8 kernels leave on `arch`, by the model of its tensor cores.
    fn emulated(case: &Case, arch: Arch, tensors: &Tensors) -> Option<(Reference, Buffer)> {
        let ([lhs, rhs], Tensors { groups, out, .. }) = (tensors.operands(), tensors);
        let exact = Reference::compute(case.problem(), lhs.clone(), rhs.clone(), groups, out, &|_| ()).unwrap();
        let sums = exact.emulated(arch, &lhs, &rhs)?;
        let after = crate::real::with_real!(case.problem().output, T => {
            Buffer::from_slice(&Device::cpu(), &exact.store::<T>(out.as_slice().unwrap(), &sums)).unwrap()
        });
        Some((exact, after))
    }

    /// On Ada and on Hopper, of every kind of fp8 kernel. Integers come out to the bit, and many a real sum is further off
    /// than f32's roundings allow.
    #[test]
    fn what_fp8_tensor_cores_leave_is_right() {
        let (mut right, mut lossy) = (0, 0);
        for arch in [Arch::Sm89, Arch::Sm90a] {
            let specs = catalogue::shipped().into_iter().filter(|spec| spec.arch == arch && spec.operand.is_fp8());
            for (spec, seed) in specs.flat_map(|spec| (0..2).map(move |seed| (spec, seed))) {
                let case = Case::random(&spec, seed, Extent::Tiles);
                for (values, mode) in [(Values::SmallIntegers, Mode::Exact), (Values::Normal, Mode::Bound)] {
                    let tensors = case.tensors(values).unwrap();
                    let (exact, after) = emulated(&case, arch, &tensors).unwrap();
                    lossy += usize::from(!exact.compare(&tensors.out, &after, mode).unwrap().pass());
                    let passed = case.judge(&tensors, &[after], mode, Some(arch));
                    passed.unwrap_or_else(|fault| panic!("{spec} {case}: {fault}"));
                    right += 1;
                }
            }
        }
        assert!(right > 150 && lossy > 20, "{right} right, {lossy} of them lossy");
    }

    /// The CPU's results pass. One element that is wrong, or moves, or lies past the output and was written, does not.
    #[test]
    fn what_is_right_passes_and_what_is_wrong_does_not() {
        let (mut right, mut wrong) = (0, 0);
        let specs = catalogue::shipped();
        for (seed, spec) in (0..150).zip(specs.iter().cycle()) {
            let case = Case::random(spec, seed, Extent::Tiles);
            for (values, mode) in [(Values::SmallIntegers, Mode::Exact), (Values::Normal, Mode::Bound)] {
                let tensors = case.tensors(values).unwrap();
                let Some(after) = computed(&case, &tensors) else { continue };
                let outputs = [after.to_device(&Device::cpu()).unwrap(), after];
                case.judge(&tensors, &outputs, mode, None).unwrap_or_else(|fault| panic!("{spec} {case}: {fault}"));
                right += 1;
                let [after, same] = outputs;
                let Some(bad) = damaged(&tensors.out, &after) else { continue };
                // What is NaN by right stays NaN.
                if first_difference(&bad, &after, 0..bad.len()).unwrap().is_none() {
                    continue;
                }
                wrong += 1;
                let outputs = [bad, after, same];
                let fault = case.judge(&tensors, &outputs[..1], mode, None).unwrap_err();
                assert!(matches!(fault, Fault::Output(_)), "{case}: {fault}");
                let [bad, after, same] = outputs;
                let fault = case.judge(&tensors, &[after, same, bad], mode, None).unwrap_err();
                assert!(matches!(fault, Fault::Moves { .. }), "{case}: {fault}");
                let mut beyond = computed(&case, &tensors).unwrap();
                with_element!(beyond.element_type(), T => {
                    let zero = bytemuck::Zeroable::zeroed();
                    *beyond.as_mut_slice::<T>().unwrap().last_mut().unwrap() = zero;
                });
                let fault = case.judge(&tensors, &[beyond], mode, None).unwrap_err();
                assert!(matches!(fault, Fault::Output(_)), "{case}: {fault}");
            }
        }
        assert!(right > 150 && wrong > 100, "{right} right, {wrong} wrong");
    }
}
