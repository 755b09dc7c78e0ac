//! A random source for a kernel that quantizes, held against the CPU to the bit.

use std::fmt;

use ggemm_codegen::QuantizeSpec;
use ggemm_codegen::kernels::quantize::{Asked, QuantizeScenario};
use ggemm_codegen::scenario::Extent;
use ggemm_codegen::{Dtype, IndexType, Operation};
use half::{bf16, f16};

use crate::buffer::Buffer;
use crate::device::Device;
use crate::error::Error;
use crate::quantize::{Quantized, Quantizer};
use crate::random::Rng;
use crate::verify::failure::Fault;
use crate::verify::ground::Ground;
use crate::verify::guard::first_difference;
use crate::verify::trial::Passed;

/// A random source and the copies that one kernel makes of it. Kernel, seed and extent decide every bit.
#[derive(Clone, Debug)]
pub struct QuantizeCase {
    spec: QuantizeSpec,
    seed: u64,
    scenario: QuantizeScenario,
}

/// A quantization that is not as it should be.
#[derive(Clone, Debug)]
pub struct QuantizeFailure {
    /// The case; its seed replays it.
    pub case: QuantizeCase,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for QuantizeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QuantizeCase { spec, seed, scenario } = &self.case;
        write!(f, "{spec}\n  seed     {seed}\n  problem  {scenario}\n  found    {}", self.fault)
    }
}

impl std::error::Error for QuantizeFailure {}

impl QuantizeCase {
    /// The case of this seed.
    pub fn random(spec: &QuantizeSpec, seed: u64, extent: Extent) -> Self {
        QuantizeCase { spec: *spec, seed, scenario: QuantizeScenario::random(spec, seed, extent) }
    }

    /// The kernel.
    pub fn spec(&self) -> &QuantizeSpec {
        &self.spec
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What is quantized.
    pub fn scenario(&self) -> &QuantizeScenario {
        &self.scenario
    }

    /// Quantizes twice where `ground` says, and holds each copy and its scales against the CPU's.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, ground: &Ground) -> Result<Passed, Box<QuantizeFailure>> {
        self.try_check(ground).map_err(|fault| Box::new(QuantizeFailure { case: self.clone(), fault }))
    }

    fn try_check(&self, ground: &Ground) -> Result<Passed, Fault> {
        let source = self.source()?;
        let groups = self.groups()?;
        let expected = self.expected(&source, &groups)?;
        for made in self.made(ground, &source, &groups, &expected)? {
            for (number, (made, expected)) in made.iter().zip(&expected).enumerate() {
                for (what, made, expected) in
                    [("scales", &made.scales, &expected.scales), ("elements", &made.elements, &expected.elements)]
                {
                    if let Some(index) = first_difference(made, expected, 0..expected.len())? {
                        return Err(Fault::Quantized { copy: number, what, index });
                    }
                }
            }
        }
        let elements = expected.iter().map(|copy| copy.elements.len() + copy.scales.len()).sum();
        Ok(Passed { worst_of_bound: 0.0, elements })
    }

    /// Stretches of very different magnitudes; now and then zeros, infinities and NaN of both signs.
    fn source(&self) -> Result<Buffer, Error> {
        let mut rng = Rng::new(self.seed ^ 0x50a7_ce11);
        let mut scale = 1.0;
        let [matrices, rows, cols] = self.extents();
        let values: Vec<f32> = (0..matrices * rows * cols)
            .map(|index| {
                if index % 977 == 0 {
                    scale = 2.0_f32.powi(rng.below(28) as i32 - 14);
                }
                match rng.below(1000) {
                    0 => f32::NAN,
                    1 => -f32::NAN,
                    2 => f32::INFINITY,
                    3 => f32::NEG_INFINITY,
                    4..20 => 0.0,
                    20..30 => -0.0,
                    _ => rng.normal() * scale,
                }
            })
            .collect();
        let host = Device::cpu();
        match self.spec.source() {
            Dtype::F16 => Buffer::from_slice(&host, &values.into_iter().map(f16::from_f32).collect::<Vec<_>>()),
            Dtype::F32 => Buffer::from_slice(&host, &values),
            _ => Buffer::from_slice(&host, &values.into_iter().map(bf16::from_f32).collect::<Vec<_>>()),
        }
    }

    /// Matrices, rows and columns of the source.
    fn extents(&self) -> [usize; 3] {
        let Some(Asked { problem, which }) = self.scenario.asked.first() else { return [0; 3] };
        let shape = problem.tensors()[*which];
        match (problem.operation, which) {
            (Operation::GradW, _) => [1, problem.m, [problem.n, problem.k][*which]],
            _ => [shape.groups, shape.rows, shape.cols],
        }
    }

    fn groups(&self) -> Result<Buffer, Error> {
        let index = self.scenario.asked.last().map_or(IndexType::I32, |asked| asked.problem.group_index);
        let values = &self.scenario.groups;
        match index {
            IndexType::I64 => Buffer::from_slice(&Device::cpu(), values),
            IndexType::I32 => {
                let narrow: Vec<i32> = values.iter().map(|v| i32::try_from(*v).unwrap_or(i32::MAX)).collect();
                Buffer::from_slice(&Device::cpu(), &narrow)
            }
        }
    }

    /// The scenario is none of the kernel.
    #[cfg(any(feature = "cuda", feature = "interpret"))]
    fn no_task(&self) -> Error {
        Error::NotFp8 { problem: self.scenario.to_string() }
    }

    /// A quantizer for each copy, with which operand of its problem that is.
    fn quantizers<'g>(&self, groups: &'g Buffer) -> Result<Vec<(Quantizer<'g>, usize)>, Error> {
        let quantizer = |Asked { problem, which }: &Asked| {
            let quantizer = Quantizer::new(problem)?.weights_from(self.scenario.from);
            let quantizer = quantizer.powers_of_two(self.scenario.powers_of_two);
            Ok((if problem.operation == Operation::GradW { quantizer.groups(groups)? } else { quantizer }, *which))
        };
        self.scenario.asked.iter().map(quantizer).collect()
    }

    /// What the CPU makes.
    fn expected(&self, source: &Buffer, groups: &Buffer) -> Result<Vec<Quantized>, Error> {
        let made = |(quantizer, which): (Quantizer<'_>, usize)| {
            if which == 0 { quantizer.first(source) } else { quantizer.second(source) }
        };
        self.quantizers(groups)?.into_iter().map(made).collect()
    }

    /// What two runs of the kernel make, in the host's memory.
    #[cfg_attr(not(any(feature = "cuda", feature = "interpret")), allow(unused_variables))]
    fn made(
        &self,
        ground: &Ground,
        source: &Buffer,
        groups: &Buffer,
        expected: &[Quantized],
    ) -> Result<Vec<Vec<Quantized>>, Fault> {
        match ground {
            #[cfg(feature = "cuda")]
            Ground::Device(device) => (0..2).map(|_| self.on_gpu(device, source, groups, expected)).collect(),
            #[cfg(feature = "interpret")]
            Ground::Interpreter(_) => (0..2).map(|run| self.interpreted(run, source, groups, expected)).collect(),
            other => Err(Error::NotAGpu { device: other.device().to_string() }.into()),
        }
    }
}

#[cfg(feature = "cuda")]
mod on_gpu {
    use super::*;
    use crate::quantize::{CopyArgs, QuantizePlan};
    use crate::verify::guard::Guarded;

    impl QuantizeCase {
        /// One run, with guards around every tensor.
        pub(super) fn on_gpu(
            &self,
            device: &Device,
            source: &Buffer,
            groups: &Buffer,
            expected: &[Quantized],
        ) -> Result<Vec<Quantized>, Fault> {
            let ty = source.element_type();
            let mut plan: Option<QuantizePlan> = None;
            for (quantizer, which) in self.quantizers(groups)? {
                plan = Some(match (plan, which) {
                    (None, 0) => QuantizePlan::first(&quantizer, device, ty)?,
                    (None, _) => QuantizePlan::second(&quantizer, device, ty)?,
                    (Some(plan), 0) => plan.and_first(&quantizer)?,
                    (Some(plan), _) => plan.and_second(&quantizer)?,
                });
            }
            let plan = plan.map(|plan| plan.divided(self.spec.division())).transpose()?.flatten();
            let Some(plan) = plan else { return Err(self.no_task().into()) };
            let (source, groups) = (Guarded::new("source", device, source)?, Guarded::new("groups", device, groups)?);
            let zeros = |like: &Buffer| Buffer::zeros(&Device::cpu(), like.element_type(), like.len());
            let mut copies = Vec::new();
            for copy in expected {
                let elements = Guarded::new("elements", device, &zeros(&copy.elements)?)?;
                copies.push((elements, Guarded::new("scales", device, &zeros(&copy.scales)?)?));
            }
            let mut targets = copies.iter_mut();
            let Some((elements, scales)) = targets.next() else { return Ok(Vec::new()) };
            let mut to = CopyArgs::new(elements.view_mut()?, scales.view_mut()?).groups(groups.view()?);
            if let Some((elements, scales)) = targets.next() {
                to = to.and_to(elements.view_mut()?, scales.view_mut()?);
            }
            plan.run(source.view()?, to)?;
            let mut made = Vec::new();
            for (elements, scales) in &copies {
                made.push(Quantized { elements: elements.read()??, scales: scales.read()?? });
            }
            for operand in [&source, &groups] {
                if let Some(overwritten) = operand.changed()? {
                    return Err(overwritten.into());
                }
            }
            Ok(made)
        }
    }
}

#[cfg(feature = "interpret")]
mod interpreted {
    use ggemm_codegen::interp::{self, ElementKind, Memory, Policy, Settings};
    use ggemm_codegen::kernels::quantize::{Task, build};
    use ggemm_codegen::launch::Operand;

    use super::*;
    use crate::element::ElementType;

    /// Statements of the longest run: far more than any case has.
    const STATEMENTS: u64 = 1 << 36;

    impl QuantizeCase {
        /// One run under a schedule of its own.
        pub(super) fn interpreted(
            &self,
            run: u64,
            source: &Buffer,
            groups: &Buffer,
            expected: &[Quantized],
        ) -> Result<Vec<Quantized>, Fault> {
            let QuantizeScenario { asked, from, powers_of_two, .. } = &self.scenario;
            let no_task = || self.no_task();
            let mut task: Option<Task> = None;
            for Asked { problem, which } in asked {
                let next = Task::new(problem, *which, self.spec.source(), *from, *powers_of_two).ok_or_else(no_task)?;
                task = Some(match task {
                    None => next,
                    Some(task) => task.together(&next).ok_or_else(no_task)?,
                });
            }
            let task = task.and_then(|task| task.divided(self.spec.division())).ok_or_else(no_task)?;
            let kernel = build(task.spec());
            let mut others = vec![(Operand::Source, loaded(source))];
            for (number, copy) in (0..).zip(expected) {
                for (operand, like) in
                    [(Operand::Elements(number), &copy.elements), (Operand::Scales(number), &copy.scales)]
                {
                    others.push((operand, interp::Buffer::from_bits(kind(like.element_type()), vec![0; like.len()])));
                }
            }
            let mut memory = Memory::of(others, loaded(groups));
            let mut rng = Rng::new(self.seed ^ 0x5c4e ^ run << 32);
            let policy = Policy::ALL[rng.below(Policy::ALL.len())];
            let (seed, ctas) = (rng.bits(), (1 + rng.below(4)) * self.spec.ctas() as usize);
            let settings = Settings { policy, seed, ctas, limit: STATEMENTS, ..Settings::default() };
            let aligned = task.is_aligned() && rng.below(4) > 0;
            let arguments = kernel.contract.params.iter().map(|p| task.argument(p.role, aligned)).collect();
            interp::run_with(&kernel, arguments, &mut memory, settings).map_err(Error::Finding)?;
            let stored = |operand, like: &Buffer| store(memory.operand(operand), like);
            (0..)
                .zip(expected)
                .map(|(number, copy)| {
                    let elements = stored(Operand::Elements(number), &copy.elements)?;
                    Ok(Quantized { elements, scales: stored(Operand::Scales(number), &copy.scales)? })
                })
                .collect()
        }
    }

    fn kind(ty: ElementType) -> ElementKind {
        match ty {
            ElementType::I32 => ElementKind::Integer(IndexType::I32),
            ElementType::I64 => ElementKind::Integer(IndexType::I64),
            ElementType::E4m3 => ElementKind::Float(Dtype::E4m3),
            ElementType::E5m2 => ElementKind::Float(Dtype::E5m2),
            ElementType::Bf16 => ElementKind::Float(Dtype::Bf16),
            ElementType::F16 => ElementKind::Float(Dtype::F16),
            ElementType::F32 => ElementKind::Float(Dtype::F32),
        }
    }

    fn loaded(buffer: &Buffer) -> interp::Buffer {
        let ty = buffer.element_type();
        let bits = |bytes: &[u8]| {
            let mut wide = [0; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            let bits = u64::from_le_bytes(wide);
            if ty == ElementType::I32 { (bits as u32).cast_signed() as i64 as u64 } else { bits }
        };
        let bytes = buffer.as_bytes().unwrap_or_default();
        interp::Buffer::from_bits(kind(ty), bytes.chunks(ty.size_bytes()).map(bits).collect())
    }

    fn store(from: Option<&interp::Buffer>, like: &Buffer) -> Result<Buffer, Error> {
        let host = Device::cpu();
        let bits = from.map(interp::Buffer::bits).unwrap_or_default();
        match like.element_type() {
            ElementType::F32 => {
                let values: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits as u32)).collect();
                Buffer::from_slice(&host, &values)
            }
            ElementType::E5m2 => {
                let values: Vec<_> = bits.iter().map(|bits| crate::e5m2::from_bits(*bits as u8)).collect();
                Buffer::from_slice(&host, &values)
            }
            _ => {
                let values: Vec<_> = bits.iter().map(|bits| crate::e4m3::from_bits(*bits as u8)).collect();
                Buffer::from_slice(&host, &values)
            }
        }
    }
}

#[cfg(all(test, feature = "interpret"))]
mod tests {
    use ggemm_codegen::Arch;

    use super::*;

    /// The CPU and the kernels, which were written apart, leave the same bits; a wrong bit would be told of.
    #[test]
    fn kernels_leave_the_bits_of_the_cpu() {
        for (seed, spec) in (0..).zip(QuantizeSpec::all().step_by(3)) {
            let case = QuantizeCase::random(&spec, seed, Extent::Tiles);
            let passed = case.check(&Ground::Interpreter(Arch::Sm90a)).unwrap_or_else(|failure| panic!("{failure}"));
            let (source, groups) = (case.source().unwrap(), case.groups().unwrap());
            let copies = case.expected(&source, &groups).unwrap();
            assert_eq!(passed.elements, copies.iter().map(|c| c.elements.len() + c.scales.len()).sum::<usize>());
        }
    }

    #[test]
    fn a_device_that_is_no_gpu_is_refused() {
        let spec = QuantizeSpec::all().next().unwrap();
        let case = QuantizeCase::random(&spec, 1, Extent::Tiles);
        let failure = case.check(&Ground::Device(Device::cpu())).unwrap_err();
        assert!(matches!(failure.fault, Fault::Runtime(Error::NotAGpu { .. })), "{failure}");
        assert!(failure.to_string().contains("seed     1"), "{failure}");
    }
}
