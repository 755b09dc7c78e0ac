//! Operands of problems, and what their copies must be: the bits of all that a product reads, and nothing else.

use std::fmt;

use ggemm_codegen::interp::{Buffer, ElementKind, Finding, Memory, Settings, Statistics, run_with};
use ggemm_codegen::ir::Kernel;
use ggemm_codegen::kernels::realign::{RealignScenario, RealignTask};
use ggemm_codegen::launch::Operand;
use ggemm_codegen::{GroupForm, Problem, Ragged, TensorShape};

/// One operand and its copy.
pub(crate) struct Case {
    pub(crate) task: RealignTask,
    scenario: RealignScenario,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.task.spec(), self.scenario)
    }
}

impl Case {
    pub(crate) fn new(scenario: RealignScenario) -> Case {
        scenario.problem.validate().expect("a problem that means something");
        let task = RealignTask::new(&scenario.problem.contraction(), scenario.which).expect("elements that are copied");
        Case { task, scenario }
    }

    /// Elements that differ from their neighbours, and a copy of NaN that ends where its last row does.
    pub(crate) fn memory(&self) -> Memory {
        let (source, copy) = (self.task.source(), self.task.copy());
        let kind = ElementKind::Float(source.dtype);
        let bits = (0..source.elements() as u64).map(|i| i.wrapping_mul(0x9e37_79b9) >> 7 & 0xffff).collect();
        let others = vec![
            (Operand::Source, Buffer::from_bits(kind, bits)),
            (Operand::Elements(0), Buffer::poisoned(kind, self.task.copy_bytes() / copy.dtype.size_bytes() as usize)),
        ];
        let entries = &self.scenario.groups;
        let mut groups = Buffer::poisoned(ElementKind::Integer(self.scenario.problem.group_index), entries.len());
        groups.set_integers(entries);
        Memory::of(others, groups)
    }

    pub(crate) fn run(
        &self,
        kernel: &Kernel,
        memory: &mut Memory,
        settings: Settings,
    ) -> Result<Statistics, Box<Finding>> {
        let arguments = kernel.contract.params.iter().map(|p| self.task.argument(p.role)).collect();
        run_with(kernel, arguments, memory, settings)
    }

    /// Holds the copy to the bit where a product reads it. Of sane groups, matrices of those without rows stay as they
    /// were; and so does always what lies between rows.
    pub(crate) fn check(&self, memory: &Memory) -> Result<(), String> {
        let (source, copy) = (memory.operand(Operand::Source), memory.operand(Operand::Elements(0)));
        let (source, copy) = (source.expect("the case has it"), copy.expect("the case has it"));
        let mut rest = vec![true; copy.len()];
        for (matrix, is_read) in (0..).zip(self.is_read()) {
            let (from, to): (&TensorShape, &TensorShape) = (self.task.source(), self.task.copy());
            for (row, col) in (0..from.rows).flat_map(|r| (0..from.cols).map(move |c| (r, c))) {
                let index = |t: &TensorShape| matrix * t.group_stride + row * t.row_stride + col;
                let found = copy.was_written(index(to)).then(|| copy.bits()[index(to)]);
                rest[index(to)] = false;
                let expected = source.bits()[index(from)];
                let is_there = is_read.is_none_or(|is_read| is_read == found.is_some());
                if !is_there || found.is_some_and(|found| found != expected) {
                    let place = format!("matrix {matrix}, row {row}, column {col}");
                    return Err(format!("{place}: {found:x?} instead of {expected:x} if {is_read:?}"));
                }
            }
        }
        match rest.iter().enumerate().position(|(i, rest)| *rest && copy.was_written(i)) {
            Some(index) => Err(format!("element {index}, which lies between rows, was written")),
            None => Ok(()),
        }
    }

    /// For each matrix, whether a product reads it: where it does not, a copy is made all the same of groups that contradict
    /// the problem (`None`).
    fn is_read(&self) -> Vec<Option<bool>> {
        let RealignScenario { problem, groups, .. } = &self.scenario;
        let c = problem.contraction();
        let source = self.task.source();
        if c.ragged != Ragged::Rows || source.group_stride == 0 {
            return vec![Some(true)];
        }
        let has_rows = rows(problem, groups).into_iter().map(|rows| rows > 0);
        let is_sane = groups.iter().all(|g| (0..=problem.m as i64).contains(g))
            && match problem.group_form {
                GroupForm::Sizes => groups.iter().sum::<i64>() <= problem.m as i64,
                GroupForm::Ends => groups.is_sorted(),
            };
        has_rows.map(|has_rows| (is_sane || has_rows).then_some(has_rows)).collect()
    }
}

/// Rows of each group: sizes and ends are clipped.
fn rows(problem: &Problem, values: &[i64]) -> Vec<i128> {
    let (mut before, most) = (0, problem.m as i128);
    let of = |value: &i64| {
        let (start, value) = (before, i128::from(*value).clamp(0, most));
        before = match problem.group_form {
            GroupForm::Ends => before.max(value),
            GroupForm::Sizes => (before + value).min(most),
        };
        before - start
    };
    values.iter().map(of).collect()
}
