//! Sources with groups, and what their quantized copies must be, by the definition of each operand.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use ggemm_codegen::interp::{Buffer, ElementKind, Finding, Memory, Settings, Statistics, run_with};
use ggemm_codegen::ir::Kernel;
use ggemm_codegen::kernels::quantize::{Asked, QuantizeScenario, Task};
use ggemm_codegen::launch::Operand;
use ggemm_codegen::{
    Dtype, GroupForm, IndexType, Operation, Problem, QuantizeSpec, SCALE_BLOCK, Scaling, WeightLayout, WeightSharing,
    fp8,
};
use half::{bf16, f16};

/// One source and its copies.
pub(crate) struct Case {
    pub(crate) task: Task,
    asked: Vec<Asked>,
    groups: Vec<i64>,
    source: Buffer,
    expected: Vec<Copy>,
    aligned: bool,
}

/// What a copy must be: bits, where something is to be written.
struct Copy {
    elements: Vec<Option<u64>>,
    scales: Vec<Option<u64>>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with groups {:?}", self.task.spec(), self.groups)?;
        self.asked.iter().try_for_each(|a| write!(f, "; operand {} of {}", a.which, a.problem))
    }
}

/// Numbers that do not repeat soon (splitmix64).
fn random(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index.wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Stretches of very different magnitudes, and now and then what has none: zeros, infinities, NaN of both signs.
fn value(seed: u64, index: u64) -> f32 {
    let dice = random(seed, index);
    let exponent = random(seed, index / 977) % 60;
    let magnitude = (1.0 + (dice >> 40) as f32 / (1 << 24) as f32) * 2.0_f32.powi(exponent as i32 - 30);
    let signed = if dice & 1 == 0 { magnitude } else { -magnitude };
    match dice >> 8 & 0x3ff {
        0 => f32::NAN,
        1 => -f32::NAN,
        2 => f32::INFINITY,
        3 => f32::NEG_INFINITY,
        4..20 => 0.0_f32.copysign(signed),
        _ => signed / (1 << (dice >> 20 & 7)) as f32,
    }
}

fn bits_of(dtype: Dtype, value: f32) -> u64 {
    match dtype {
        Dtype::Bf16 => bf16::from_f32(value).to_bits().into(),
        Dtype::F16 => f16::from_f32(value).to_bits().into(),
        _ => value.to_bits().into(),
    }
}

fn value_of(dtype: Dtype, bits: u64) -> f32 {
    match dtype {
        Dtype::Bf16 => bf16::from_bits(bits as u16).to_f32(),
        Dtype::F16 => f16::from_bits(bits as u16).to_f32(),
        _ => f32::from_bits(bits as u32),
    }
}

impl Case {
    /// The copies of one source.
    pub(crate) fn new(spec: &QuantizeSpec, scenario: QuantizeScenario, seed: u64) -> Case {
        let QuantizeScenario { asked, from, groups, powers_of_two } = scenario;
        let dtype = spec.source();
        let task = |a: &Asked| {
            a.problem.validate().expect("a problem that means something");
            Task::new(&a.problem, a.which, dtype, from, powers_of_two).expect("an fp8 problem")
        };
        let first = task(&asked[0]);
        let task = asked[1..].iter().fold(first, |t, a| t.together(&task(a)).expect("one read of the source"));
        let task = task.divided(spec.division()).expect("a kernel that there is");
        let [matrices, rows, cols] = task.extents();
        let largest = if dtype == Dtype::F16 { 65_504.0 } else { 2.0_f32.powi(40) };
        let value = |i: usize| {
            // Now and then the last of every row and column is what its scale depends on.
            let is_last = i / cols == matrices * rows - 1 || i % cols == cols - 1;
            if seed % 2 == 1 && is_last { largest } else { value(seed, i as u64) }
        };
        let bits: Vec<u64> = (0..task.source_elements()).map(|i| bits_of(dtype, value(i))).collect();
        let values: Vec<f32> = bits.iter().map(|b| value_of(dtype, *b)).collect();
        let expected = asked.iter().map(|a| Copy::of(a, &values, &groups, from, powers_of_two)).collect();
        let aligned = task.is_aligned();
        let source = Buffer::from_bits(ElementKind::Float(dtype), bits);
        Case { task, asked, groups, source, expected, aligned }
    }

    /// The same, as if rows were not aligned.
    pub(crate) fn unaligned(self) -> Case {
        Case { aligned: false, ..self }
    }

    /// The source, and copies of NaN.
    pub(crate) fn memory(&self) -> Memory {
        let mut others = vec![(Operand::Source, self.source.clone())];
        for (number, copy) in (0..).zip(self.task.copies()) {
            let poisoned = |dtype, len| Buffer::poisoned(ElementKind::Float(dtype), len);
            others.push((Operand::Elements(number), poisoned(copy.elements.dtype, copy.elements.elements())));
            others.push((Operand::Scales(number), poisoned(Dtype::F32, copy.scales.elements())));
        }
        let index = self.asked.last().map_or(IndexType::I32, |a| a.problem.group_index);
        let mut groups = Buffer::poisoned(ElementKind::Integer(index), self.groups.len());
        groups.set_integers(&self.groups);
        Memory::of(others, groups)
    }

    pub(crate) fn run(
        &self,
        kernel: &Kernel,
        memory: &mut Memory,
        settings: Settings,
    ) -> Result<Statistics, Box<Finding>> {
        let arguments = kernel.contract.params.iter().map(|p| self.task.argument(p.role, self.aligned)).collect();
        run_with(kernel, arguments, memory, settings)
    }

    /// Holds the copies to the bit, and everything that is no part of them to be left alone.
    pub(crate) fn check(&self, memory: &Memory) -> Result<(), String> {
        for (number, copy) in (0..).zip(&self.expected) {
            for (operand, expected) in
                [(Operand::Scales(number), &copy.scales), (Operand::Elements(number), &copy.elements)]
            {
                let buffer = memory.operand(operand).expect("the case has it");
                for (index, expected) in expected.iter().enumerate() {
                    let found = buffer.was_written(index).then(|| buffer.bits()[index]);
                    if found != *expected {
                        return Err(format!("{operand:?}, element {index}: {found:x?} instead of {expected:x?}"));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Rows of each group: sizes and ends are clipped.
fn runs(problem: &Problem, values: &[i64]) -> Vec<Range<usize>> {
    let (mut before, rows) = (0, problem.m as i128);
    let mut runs = Vec::new();
    for value in values {
        let (start, value) = (before, i128::from(*value).clamp(0, rows));
        before = match problem.group_form {
            GroupForm::Ends => before.max(value),
            GroupForm::Sizes => (before + value).min(rows),
        };
        runs.push(start as usize..before as usize);
    }
    if problem.weight_sharing == WeightSharing::Shared {
        runs.clear();
        runs.push(0..before as usize);
    }
    runs
}

/// An element's place: in the source, in the copy, and which scale it has.
struct Place {
    source: usize,
    copy: usize,
    scale: usize,
}

impl Copy {
    fn of(asked: &Asked, values: &[f32], groups: &[i64], from: WeightLayout, powers_of_two: bool) -> Copy {
        let Asked { problem, which } = asked;
        let (shape, scale) = (problem.tensors()[*which], problem.scales().expect("fp8 has scales")[*which]);
        let mut places = Vec::new();
        let (mut scales_of_nothing, mut zeros) = (Vec::new(), Vec::new());
        let Problem { m, n, k, .. } = *problem;
        match (problem.operation, which) {
            (Operation::GradW, _) => {
                let cols = [n, k][*which];
                let c = problem.contraction();
                for (g, run) in runs(problem, groups).into_iter().enumerate() {
                    let (origin, block) = (c.reduction_start(run.start, g), c.first_block(run.start, g));
                    for outer in 0..cols {
                        let at = |row: usize| {
                            if problem.reduction_blocks {
                                outer * shape.row_stride + origin + row
                            } else {
                                (origin + row) * shape.row_stride + outer
                            }
                        };
                        for row in 0..run.len() {
                            let scale = scale.index(g, outer, block + row / SCALE_BLOCK);
                            places.push(Place { source: (run.start + row) * cols + outer, copy: at(row), scale });
                        }
                        if problem.scaling == Scaling::Row {
                            scales_of_nothing.push(scale.index(g, outer, 0));
                        }
                        if problem.reduction_blocks {
                            zeros.extend((run.len()..run.len().next_multiple_of(SCALE_BLOCK)).map(at));
                        }
                    }
                }
            }
            (_, 0) => {
                scales_of_nothing
                    .extend((0..m).filter(|_| problem.scaling == Scaling::Row).map(|r| scale.index(0, r, 0)));
                for (row, col) in (0..m).flat_map(|r| (0..shape.cols).map(move |c| (r, c))) {
                    let scale = scale.index(0, row, col / SCALE_BLOCK);
                    places.push(Place { source: row * shape.cols + col, copy: row * shape.row_stride + col, scale });
                }
            }
            (operation, _) => {
                let outer = if operation == Operation::Forward { n } else { k };
                let every = (0..shape.groups).flat_map(|g| (0..outer).map(move |i| (g, i)));
                let alone = every.filter(|_| problem.scaling == Scaling::Row);
                scales_of_nothing.extend(alone.map(|(g, i)| scale.index(g, i, 0)));
                for (g, n_, k_) in
                    (0..shape.groups).flat_map(|g| (0..n).flat_map(move |n| (0..k).map(move |k| (g, n, k))))
                {
                    let (outer, along) = if operation == Operation::Forward { (n_, k_) } else { (k_, n_) };
                    let source = if from == WeightLayout::Nk { n_ * k + k_ } else { k_ * n + n_ };
                    let (row, col) = if problem.weight_layout == WeightLayout::Nk { (n_, k_) } else { (k_, n_) };
                    let copy = g * shape.group_stride + row * shape.row_stride + col;
                    places.push(Place {
                        source: g * n * k + source,
                        copy,
                        scale: scale.index(g, outer, along / SCALE_BLOCK),
                    });
                }
            }
        }
        let is_e4m3 = shape.dtype == Dtype::E4m3;
        let largest = if is_e4m3 { fp8::E4M3_MAX } else { fp8::E5M2_MAX };
        let mut most: HashMap<usize, f32> = scales_of_nothing.into_iter().map(|s| (s, 0.0)).collect();
        for p in &places {
            let magnitude = values[p.source].abs();
            let most = most.entry(p.scale).or_default();
            *most = most.max(if magnitude.is_finite() { magnitude } else { 0.0 });
        }
        let mut scales = vec![None; scale.elements()];
        for (index, most) in most {
            scales[index] = Some(u64::from(fp8::scale(most, largest, powers_of_two).to_bits()));
        }
        let mut elements = vec![None; shape.elements()];
        for p in places {
            let scale = f32::from_bits(scales[p.scale].expect("every element has a scale") as u32);
            let value = values[p.source];
            let scaled = if value.is_nan() { value } else { value * (1.0 / scale) };
            let rounded = if is_e4m3 { fp8::e4m3_from_f32(scaled) } else { fp8::e5m2_from_f32(scaled) };
            assert!(elements[p.copy].replace(rounded.into()).is_none(), "a place for each element");
        }
        for zero in zeros {
            assert!(elements[zero].replace(0).is_none(), "zeros lie beside elements");
        }
        Copy { elements, scales }
    }
}
