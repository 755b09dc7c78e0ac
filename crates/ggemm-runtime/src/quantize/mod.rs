//! From bf16, f16 or f32 to the fp8 operands of a problem, where the source lies: on the CPU, or on a GPU by a kernel that
//! leaves the same bits.
//!
//! The problem says which elements share a scale and how elements and scales lie; the source is a dense tensor as the
//! operation names it (x [M, K], dy [M, N], w [G, N, K]). So one call makes whatever copy a product needs: grad_x reads
//! weights along N, grad_w its operands along the rows, and each copy is quantized from the source by its own blocks.
//!
//! A scale is the largest finite magnitude of its block over the format's largest, or the next power of two
//! ([`ggemm_codegen::fp8::scale`]). Elements round to nearest even. An infinity becomes the format's largest of its sign,
//! as in OCP's saturating conversion, NaN stays NaN, and a block of zeros has scale 1.

#[cfg(feature = "cuda")]
mod plan;
mod plane;
mod tile;

#[cfg(feature = "cuda")]
use ggemm_codegen::kernels::quantize::Task;
use ggemm_codegen::{Dtype, Operation, Problem, Ragged, Scaling, WeightLayout, WeightSharing};

use crate::buffer::{Buffer, View};
use crate::check;
use crate::device::{Device, DeviceKind};
use crate::element::ElementType;
use crate::error::Error;
use crate::fp8::{e4m3, e5m2};
use crate::groups::{self, Runs};
use crate::operand::Operand;
#[cfg(feature = "cuda")]
pub use ggemm_codegen::kernels::quantize::CopyShape;
#[cfg(feature = "cuda")]
pub use plan::{CopyArgs, QuantizePlan};
use plane::Part;
use tile::{Source, Target};

/// An fp8 operand, made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Quantized {
    /// The elements, as the problem lays the operand out. What lies between rows and groups is zero.
    pub elements: Buffer,
    /// Their scales, as the problem lays them out. Those of no block are zero.
    pub scales: Buffer,
}

impl Quantized {
    /// Both, as an argument of a run.
    pub fn operand(&self) -> Operand<'_> {
        Operand::scaled(&self.elements, &self.scales)
    }
}

/// Makes the operands of one fp8 problem, where their sources lie. On a GPU a call asks the device's own stream for it and
/// returns at once; groups of grad_w lie there too, and no host looks at them. `QuantizePlan` does the same into memory
/// of the caller's, and two copies in one pass.
///
/// ```
/// use ggemm_runtime::quantize::Quantizer;
/// use ggemm_runtime::{Args, Device, Dtype, Planner, Problem, Scaling, bf16};
/// let problem = Problem::forward(2, 3, 1, 2).operand(Dtype::E4m3).scaling(Scaling::Block);
/// let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(bf16::from_f32);
/// let w = [1.0, 1.0, 1.0, -1.0].map(bf16::from_f32);
/// let quantizer = Quantizer::new(&problem)?;
/// let (x, w) = (quantizer.first(&x)?, quantizer.second(&w)?);
/// let mut y = [bf16::ZERO; 3];
/// let plan = Planner::new(Device::cpu()).plan(&problem)?;
/// plan.run(Args::forward(x.operand(), w.operand(), &[2_i32, 1], &mut y))?;
/// assert!((y[1].to_f32() - 7.0).abs() < 0.5);
/// # Ok::<(), ggemm_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Quantizer<'g> {
    problem: Problem,
    weight_layout: WeightLayout,
    powers_of_two: bool,
    groups: Option<Groups<'g>>,
}

/// Which rows are whose.
#[derive(Clone, Debug)]
enum Groups<'g> {
    /// Read and checked.
    Host(Runs),
    /// Sizes or ends that only a GPU reads.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    Device(View<'g>),
}

impl<'g> Quantizer<'g> {
    /// For the operands of `problem`.
    ///
    /// # Errors
    /// [`Error::Problem`] for a problem that means nothing, [`Error::NotFp8`] for one of other types.
    pub fn new(problem: &Problem) -> Result<Self, Error> {
        problem.validate()?;
        if !problem.operand.is_fp8() {
            return Err(Error::NotFp8 { problem: problem.to_string() });
        }
        let weight_layout = problem.weight_layout;
        Ok(Quantizer { problem: problem.clone(), weight_layout, powers_of_two: false, groups: None })
    }

    /// Which dimension of the source's weight comes first, where that is not the problem's: the copy is then transposed.
    pub fn weights_from(mut self, layout: WeightLayout) -> Self {
        self.weight_layout = layout;
        self
    }

    /// Rounds scales up to powers of two. Products with them are exact.
    pub fn powers_of_two(mut self, on: bool) -> Self {
        self.powers_of_two = on;
        self
    }

    /// The G sizes or ends, for grad_w: a group's rows share no scale with another's. Those on a GPU are not read here, and
    /// are clipped as in every kernel.
    ///
    /// # Errors
    /// Those of [`Plan::run`](crate::Plan::run) for an array that is not what the problem says or contradicts it.
    pub fn groups<'a>(self, groups: impl Into<View<'a>>) -> Result<Quantizer<'a>, Error> {
        let groups = groups.into();
        check::groups(&self.problem, &groups.device().clone(), &groups)?;
        let groups = match groups.device().kind() {
            DeviceKind::Cpu => Groups::Host(Runs::checked(&self.problem, groups::values(&groups))?),
            DeviceKind::Cuda(_) => Groups::Device(groups),
        };
        let Quantizer { problem, weight_layout, powers_of_two, .. } = self;
        Ok(Quantizer { problem, weight_layout, powers_of_two, groups: Some(groups) })
    }

    /// Quantizes the first operand: x of forward, dy of grad_x and grad_w.
    ///
    /// # Errors
    /// [`Error::SourceType`], [`Error::ArgumentLength`] and [`Error::ArgumentDevice`] for a source that cannot be the
    /// dense tensor, [`Error::MissingGroups`] for grad_w without [`Quantizer::groups`], [`Error::OutOfMemory`].
    pub fn first<'a>(&self, source: impl Into<View<'a>>) -> Result<Quantized, Error> {
        self.quantize(0, &source.into())
    }

    /// Quantizes the second operand: w of forward and grad_x, x of grad_w.
    ///
    /// # Errors
    /// Those of [`Quantizer::first`].
    pub fn second<'a>(&self, source: impl Into<View<'a>>) -> Result<Quantized, Error> {
        self.quantize(1, &source.into())
    }

    fn quantize(&self, which: usize, source: &View<'_>) -> Result<Quantized, Error> {
        match source.device().kind() {
            DeviceKind::Cpu => self.on_host(which, source),
            #[cfg(feature = "cuda")]
            DeviceKind::Cuda(_) => self.on_gpu(which, source),
            #[cfg(not(feature = "cuda"))]
            DeviceKind::Cuda(_) => Err(Error::NoBackend { device: source.device().to_string() }),
        }
    }

    /// One launch on the device's own stream, into new memory.
    #[cfg(feature = "cuda")]
    fn on_gpu(&self, which: usize, source: &View<'_>) -> Result<Quantized, Error> {
        let plan = QuantizePlan::new(self, which, source.device(), source.element_type())?;
        let mut copies = plan.allocate()?;
        let Some(mut made) = copies.pop() else { return Err(self.no_scales()) };
        let mut to = CopyArgs::of(&mut made);
        match &self.groups {
            Some(Groups::Device(groups)) => to = to.groups(groups.clone()),
            Some(Groups::Host(_)) => return Err(self.groups_elsewhere(&Device::cpu(), source.device())),
            None => {}
        }
        plan.run(source.clone(), to)?;
        Ok(made)
    }

    /// The quantization of an operand as kernels know it.
    #[cfg(feature = "cuda")]
    fn task(&self, which: usize, source: ElementType) -> Result<Task, Error> {
        let refused = || Error::SourceType { argument: self.problem.operation.tensor_names()[which], found: source };
        let dtype = match source {
            ElementType::Bf16 => Dtype::Bf16,
            ElementType::F16 => Dtype::F16,
            ElementType::F32 => Dtype::F32,
            _ => return Err(refused()),
        };
        Task::new(&self.problem, which, dtype, self.weight_layout, self.powers_of_two).ok_or_else(refused)
    }

    fn no_scales(&self) -> Error {
        Error::NotFp8 { problem: self.problem.to_string() }
    }

    /// Groups lie on another device than the source.
    fn groups_elsewhere(&self, found: &Device, expected: &Device) -> Error {
        Error::ArgumentDevice { argument: "groups", found: found.to_string(), expected: expected.to_string() }
    }

    fn on_host(&self, which: usize, source: &View<'_>) -> Result<Quantized, Error> {
        let problem = &self.problem;
        let device = Device::cpu();
        let scales = problem.scales().ok_or_else(|| self.no_scales())?;
        let (shape, scale) = (problem.tensors()[which], scales[which]);
        let dims = self.dims(which);
        check::source(problem, &device, shape.name, source, &dims)?;
        let parts = self.parts(which)?;
        let is_e4m3 = shape.dtype == Dtype::E4m3;
        let ty = if is_e4m3 { ElementType::E4m3 } else { ElementType::E5m2 };
        let mut elements = Buffer::zeros(&device, ty, shape.elements())?;
        let mut scales = Buffer::zeros(&device, ElementType::F32, scale.elements())?;
        let per_block = problem.scaling == Scaling::Block;
        let of = scales.as_mut_slice::<f32>().unwrap_or_default();
        let target = Target { shape: scale, scales: of, per_block, powers_of_two: self.powers_of_two };
        if is_e4m3 {
            round::<e4m3>(source, &parts, elements.as_mut_slice().unwrap_or_default(), target);
        } else {
            round::<e5m2>(source, &parts, elements.as_mut_slice().unwrap_or_default(), target);
        }
        Ok(Quantized { elements, scales })
    }

    /// The source's extents.
    fn dims(&self, which: usize) -> Vec<usize> {
        let Problem { operation, groups, m, n, k, .. } = self.problem;
        match (operation, which) {
            (Operation::Forward, 0) | (Operation::GradW, 1) => vec![m, k],
            (Operation::GradX | Operation::GradW, 0) => vec![m, n],
            _ => {
                let [rows, cols] = if self.weight_layout == WeightLayout::Nk { [n, k] } else { [k, n] };
                match self.problem.weight_sharing {
                    WeightSharing::PerExpert => vec![groups, rows, cols],
                    WeightSharing::Shared => vec![rows, cols],
                }
            }
        }
    }

    /// The operand as parts that share no scale.
    fn parts(&self, which: usize) -> Result<Vec<Part>, Error> {
        let problem = &self.problem;
        let contraction = problem.contraction();
        let shape = problem.tensors()[which];
        if contraction.ragged == Ragged::Reduction {
            let runs = match &self.groups {
                Some(Groups::Host(runs)) => runs,
                Some(Groups::Device(groups)) => return Err(self.groups_elsewhere(groups.device(), &Device::cpu())),
                None => return Err(Error::MissingGroups { problem: problem.to_string() }),
            };
            let merged = contraction.weight_shared.then(|| runs.merged());
            let cols = [problem.n, problem.k][which];
            let of = |(group, run)| Part::rows_of_a_group(&contraction, &shape, cols, group, run);
            return Ok(merged.as_ref().unwrap_or(runs).iter().enumerate().map(of).collect());
        }
        if which == 0 {
            return Ok(vec![Part::tokens(&shape)]);
        }
        Ok((0..shape.groups).map(|group| Part::weight(problem, &shape, self.weight_layout, group)).collect())
    }
}

/// Rounds from whatever the source holds.
fn round<T: tile::Fp8>(source: &View<'_>, parts: &[Part], elements: &mut [T], target: Target<'_>) {
    fn from<S: Source, T: tile::Fp8>(source: &View<'_>, parts: &[Part], elements: &mut [T], target: Target<'_>) {
        tile::quantize::<S, T>(source.as_slice().unwrap_or_default(), parts, elements, target);
    }
    match source.element_type() {
        ElementType::F16 => from::<half::f16, T>(source, parts, elements, target),
        ElementType::F32 => from::<f32, T>(source, parts, elements, target),
        _ => from::<half::bf16, T>(source, parts, elements, target),
    }
}
