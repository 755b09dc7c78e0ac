//! A random problem for a variant.

use std::fmt;
use std::ops::Range;

use ggemm_codegen::scenario::{Extent, Scenario};
use ggemm_codegen::{CopyPath, KernelSpec, Operation, Problem, RealignSpec, WeightSharing, catalogue};

use crate::buffer::Buffer;
use crate::error::Error;
use crate::groups::Runs;
use crate::random::{Rng, Tensors, Values};
use crate::real::{Real, with_real};

/// A random problem for one variant. Variant, seed and extent decide every bit of it.
#[derive(Clone, Debug)]
pub struct Case {
    spec: KernelSpec,
    seed: u64,
    /// What everything random is drawn from.
    drawn: u64,
    scenario: Scenario,
    /// A group whose rows of the first operand are NaN throughout.
    poisoned: Option<usize>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.scenario)?;
        match self.poisoned {
            Some(group) => write!(f, ", NaN in group {group}"),
            None => Ok(()),
        }
    }
}

impl Case {
    /// The case of this seed.
    pub fn random(spec: &KernelSpec, seed: u64, extent: Extent) -> Self {
        let drawn = drawn(spec, seed);
        Self::of(spec, seed, drawn, Scenario::any(spec, drawn, extent))
    }

    /// The case of this seed of a kernel that copies operands to aligned rows: a product of such copies, by a variant whose
    /// D may start anywhere too. `None` where no such product ships.
    pub fn realigned(spec: &RealignSpec, seed: u64, extent: Extent) -> Option<Self> {
        let reads = |product: &KernelSpec| product.d_by_threads && product.operand == spec.element();
        let products: Vec<KernelSpec> = catalogue::shipped().into_iter().filter(reads).collect();
        let product = products.get(seed as usize % products.len().max(1))?;
        let drawn = drawn(product, seed ^ 0x0dd0);
        let scenario = Scenario::any(product, drawn, extent).unaligned(drawn);
        Some(Self::of(product, seed, drawn, scenario))
    }

    fn of(spec: &KernelSpec, seed: u64, drawn: u64, scenario: Scenario) -> Self {
        let mut rng = Rng::new(drawn ^ 0x7e57);
        let mut poisoned = (rng.below(4) == 0).then(|| rng.below(scenario.problem.groups));
        // What all groups share would be NaN throughout, and hide everything else.
        if scenario.problem.operation == Operation::GradW && scenario.problem.weight_sharing == WeightSharing::Shared {
            poisoned = None;
        }
        Case { spec: *spec, seed, drawn, scenario, poisoned }
    }

    /// Elements from where its tensors would be aligned to where they lie: the operands and the output. None but where a
    /// variant takes them from anywhere.
    pub(super) fn offsets(&self) -> [usize; 3] {
        let mut rng = Rng::new(self.drawn ^ 0x0ff5);
        let mut offset = |is_anywhere| if is_anywhere { rng.below(8) } else { 0 };
        let reads = self.spec.copy == CopyPath::Plain;
        [offset(reads), offset(reads), offset(reads || self.spec.d_by_threads)]
    }

    /// The variant.
    pub fn spec(&self) -> &KernelSpec {
        &self.spec
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The problem.
    pub fn problem(&self) -> &Problem {
        &self.scenario.problem
    }

    /// Sizes or ends, which may contradict the problem.
    pub fn groups(&self) -> &[i64] {
        &self.scenario.groups
    }

    /// The tensors, in the host's memory.
    pub(super) fn tensors(&self, values: Values) -> Result<Tensors, Error> {
        let problem = self.problem();
        let mut tensors = Tensors::with_groups(problem, self.groups(), values, self.drawn)?;
        if let Some(group) = self.poisoned {
            let rows = Runs::clamped(problem, self.groups().iter().copied()).iter().nth(group).unwrap_or_default();
            let [shape, ..] = problem.tensors();
            let own: Vec<Range<usize>> = if problem.reduction_blocks {
                let start = problem.contraction().reduction_start(rows.start, group);
                let columns = start..start + rows.len();
                let in_row = |row: usize| row * shape.row_stride + columns.start..row * shape.row_stride + columns.end;
                (0..shape.rows).map(in_row).collect()
            } else {
                rows.map(|row| row * shape.row_stride..row * shape.row_stride + shape.cols).collect()
            };
            with_real!(problem.operand, T => fill::<T>(&mut tensors.lhs, own.into_iter()));
        }
        Ok(tensors)
    }
}

/// The seed and the variant's name in one (FNV-1a), so that variants meet other problems on the same seed.
fn drawn(spec: &KernelSpec, seed: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed;
    spec.to_string().bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// NaN in these elements.
fn fill<T: Real>(buffer: &mut Buffer, runs: impl Iterator<Item = Range<usize>>) {
    let elements = buffer.as_mut_slice::<T>().unwrap_or_default();
    for run in runs {
        if let Some(run) = elements.get_mut(run) {
            run.fill(T::from_f32(f32::NAN));
        }
    }
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::catalogue;

    use super::*;

    /// A failing case replays, and its NaN stay in the group.
    #[test]
    fn a_seed_decides_every_bit() {
        let specs = catalogue::shipped();
        let mut poisoned = 0;
        for (seed, spec) in (0..40).zip(specs.iter().cycle()) {
            let (a, b) = (Case::random(spec, seed, Extent::Hundreds), Case::random(spec, seed, Extent::Hundreds));
            assert_eq!(a.to_string(), b.to_string());
            let tensors = |case: &Case| case.tensors(Values::Normal).unwrap();
            let (x, y) = (tensors(&a), tensors(&b));
            for (x, y) in [(&x.lhs, &y.lhs), (&x.rhs, &y.rhs), (&x.groups, &y.groups), (&x.out, &y.out)] {
                assert_eq!(x.as_bytes(), y.as_bytes());
            }
            poisoned += usize::from(a.poisoned.is_some());
        }
        assert!((3..20).contains(&poisoned), "{poisoned} of 40");
    }
}
