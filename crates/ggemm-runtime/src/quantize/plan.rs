//! A quantization bound to a GPU, to be run as often as wanted.

use ggemm_codegen::kernels::quantize::{CopyShape, Division, Task};
use ggemm_codegen::{Dtype, Problem};

use super::{Quantized, Quantizer};
use crate::buffer::{Buffer, View, ViewMut};
use crate::check;
use crate::cuda::{CodeOrigin, CudaQuantizer, RawCopies, Stream};
use crate::device::Device;
use crate::element::ElementType;
use crate::error::Error;

/// One quantized copy of a source, or two of one read of it, bound to a GPU. Make it once and run it as often as wanted, from
/// any thread: a run makes no allocation, waits for nothing, never looks at the groups, and can be captured in a graph.
///
/// Two copies come of one read where a block of 128 × 128 elements has all that both scales depend on: block-scaled tokens
/// with the copy of the same rows that grad_w reads ([`Problem::reduction_blocks`]), and a block-scaled weight as it lies
/// with its transpose. Whole rows or columns share a scale only after all of them were read; each of those copies reads
/// its source, and once more what the chip could not hold.
///
/// ```no_run
/// use ggemm_runtime::quantize::{CopyArgs, QuantizePlan, Quantizer};
/// use ggemm_runtime::{Buffer, Device, Dtype, ElementType, Problem, Scaling};
/// let device = Device::probe()?;
/// let forward = Problem::forward(8, 4096, 1024, 2048).operand(Dtype::E4m3).scaling(Scaling::Block);
/// let grad_w = Problem::grad_w(8, 4096, 1024, 2048).operand(Dtype::E4m3).scaling(Scaling::Block).reduction_blocks(true);
/// // x of forward, and in the same pass x of grad_w.
/// let plan = QuantizePlan::first(&Quantizer::new(&forward)?, &device, ElementType::Bf16)?
///     .and_second(&Quantizer::new(&grad_w)?)?;
/// let x = Buffer::zeros(&device, ElementType::Bf16, 4096 * 2048)?;
/// let sizes = Buffer::from_slice(&device, &[512_i32; 8])?;
/// let [mut tokens, mut reduction] = plan.allocate()?.try_into().expect("two copies");
/// let to = CopyArgs::of(&mut tokens).and(&mut reduction).groups(&sizes);
/// plan.run(&x, to)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct QuantizePlan {
    device: Device,
    source: ElementType,
    task: Task,
    /// The problem of each copy, and which operand of it.
    asked: Vec<(Problem, usize)>,
    kernel: CudaQuantizer,
}

/// Where the copies of one run go, and which rows are whose.
#[derive(Debug)]
pub struct CopyArgs<'a> {
    copies: [Option<(ViewMut<'a>, ViewMut<'a>)>; 2],
    groups: Option<View<'a>>,
}

impl<'a> CopyArgs<'a> {
    /// To these elements and scales, which lie as the problem says.
    pub fn new(elements: impl Into<ViewMut<'a>>, scales: impl Into<ViewMut<'a>>) -> Self {
        CopyArgs { copies: [Some((elements.into(), scales.into())), None], groups: None }
    }

    /// To these buffers.
    pub fn of(copy: &'a mut Quantized) -> Self {
        Self::new(&mut copy.elements, &mut copy.scales)
    }

    /// The second copy, of a plan that makes two, to these buffers.
    pub fn and(self, copy: &'a mut Quantized) -> Self {
        self.and_to(&mut copy.elements, &mut copy.scales)
    }

    /// The second copy, of a plan that makes two, to these elements and scales.
    pub fn and_to(mut self, elements: impl Into<ViewMut<'a>>, scales: impl Into<ViewMut<'a>>) -> Self {
        self.copies[1] = Some((elements.into(), scales.into()));
        self
    }

    /// The G sizes or ends, for copies of grad_w.
    pub fn groups(mut self, groups: impl Into<View<'a>>) -> Self {
        self.groups = Some(groups.into());
        self
    }
}

impl QuantizePlan {
    /// The quantizer's first operand, of elements of type `source` on `device`: x of forward, dy of grad_x and grad_w.
    ///
    /// # Errors
    /// [`Error::SourceType`], [`Error::NotAGpu`] for the CPU, [`Error::NoFp8Conversion`] for a GPU before sm_89; where the
    /// kernel has no machine code or cannot be loaded [`Error::Code`] and [`Error::Cuda`].
    pub fn first(quantizer: &Quantizer<'_>, device: &Device, source: ElementType) -> Result<Self, Error> {
        Self::new(quantizer, 0, device, source)
    }

    /// The quantizer's second operand: w of forward and grad_x, x of grad_w.
    ///
    /// # Errors
    /// Those of [`QuantizePlan::first`].
    pub fn second(quantizer: &Quantizer<'_>, device: &Device, source: ElementType) -> Result<Self, Error> {
        Self::new(quantizer, 1, device, source)
    }

    pub(super) fn new(
        quantizer: &Quantizer<'_>,
        which: usize,
        device: &Device,
        source: ElementType,
    ) -> Result<Self, Error> {
        let gpu = device.gpu()?;
        let task = quantizer.task(which, source)?.on(gpu.arch());
        let kernel = CudaQuantizer::new(gpu, &task)?;
        let asked = vec![(quantizer.problem.clone(), which)];
        Ok(QuantizePlan { device: device.clone(), source, task, asked, kernel })
    }

    /// Makes the first operand of `other` too, of the same read of the source.
    ///
    /// # Errors
    /// [`Error::NotTogether`], and those of [`QuantizePlan::first`].
    pub fn and_first(self, other: &Quantizer<'_>) -> Result<Self, Error> {
        self.and(other, 0)
    }

    /// Makes the second operand of `other` too, of the same read of the source.
    ///
    /// # Errors
    /// [`Error::NotTogether`], and those of [`QuantizePlan::first`].
    pub fn and_second(self, other: &Quantizer<'_>) -> Result<Self, Error> {
        self.and(other, 1)
    }

    fn and(mut self, other: &Quantizer<'_>, which: usize) -> Result<Self, Error> {
        let apart = || Error::NotTogether { first: self.asked[0].0.to_string(), second: other.problem.to_string() };
        self.task = self.task.together(&other.task(which, self.source)?).ok_or_else(apart)?;
        self.kernel = CudaQuantizer::new(self.device.gpu()?, &self.task)?;
        self.asked.push((other.problem.clone(), which));
        Ok(self)
    }

    /// The same by the kernel whose clusters divide whole rows or columns so, or that has none; `None` where there is none.
    pub(crate) fn divided(mut self, division: Option<Division>) -> Result<Option<Self>, Error> {
        let Some(task) = self.task.clone().divided(division) else { return Ok(None) };
        self.kernel = CudaQuantizer::new(self.device.gpu()?, &task)?;
        Ok(Some(QuantizePlan { task, ..self }))
    }

    /// Buffers for the copies, zeroed.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], and where the driver fails [`Error::Cuda`].
    pub fn allocate(&self) -> Result<Vec<Quantized>, Error> {
        let buffers = |copy: &CopyShape| {
            let is_e4m3 = copy.elements.dtype == Dtype::E4m3;
            let ty = if is_e4m3 { ElementType::E4m3 } else { ElementType::E5m2 };
            Ok(Quantized {
                elements: Buffer::zeros(&self.device, ty, copy.elements.elements())?,
                scales: Buffer::zeros(&self.device, ElementType::F32, copy.scales.elements())?,
            })
        };
        self.task.copies().iter().map(buffers).collect()
    }

    /// Quantizes `source`, the dense tensor, on the device's own stream, and returns at once. What is no part of a copy
    /// (between padded rows, blocks of no group, scales of no block) keeps what it held, and nothing reads it.
    ///
    /// # Errors
    /// Arguments that are not what the problems say: types, lengths, devices, [`Error::CopyCount`], and
    /// [`Error::MissingGroups`]. A call that fails has written nothing.
    pub fn run<'a>(&self, source: impl Into<View<'a>>, to: CopyArgs<'_>) -> Result<(), Error> {
        self.enqueue(None, &source.into(), &to)
    }

    /// The same on a stream of one's own or of another framework.
    ///
    /// # Errors
    /// Those of [`QuantizePlan::run`], and [`Error::StreamDevice`] for a stream of another GPU.
    pub fn run_on<'a>(&self, stream: &Stream, source: impl Into<View<'a>>, to: CopyArgs<'_>) -> Result<(), Error> {
        self.check_stream(stream)?;
        self.enqueue(Some(stream), &source.into(), &to)
    }

    /// The same for tensors that are known by their addresses alone. Nothing is checked.
    ///
    /// # Errors
    /// [`Error::StreamDevice`] for a stream of another GPU, [`Error::Cuda`] where the driver refuses.
    ///
    /// # Safety
    /// Each address is that of a tensor as the problems describe it (types, strides, at least as many elements as it spans,
    /// exactly G groups), a multiple of the element's size, in memory that the plan's GPU can read and, of copies, write,
    /// and that stays valid until the work is done. Copies overlap nothing. Whatever else uses the tensors is ordered by
    /// the caller.
    pub unsafe fn run_raw(&self, stream: &Stream, tensors: RawCopies) -> Result<(), Error> {
        self.check_stream(stream)?;
        // SAFETY: the caller's promise is what is asked for.
        unsafe { self.kernel.run_raw(stream, tensors) }
    }

    /// What makes the copies: the name of a kernel.
    pub fn kernel(&self) -> String {
        self.task.spec().to_string()
    }

    /// Where each copy and its scales lie.
    pub fn copies(&self) -> &[CopyShape] {
        self.task.copies()
    }

    /// Where the kernel's machine code came from.
    pub fn code_origin(&self) -> CodeOrigin {
        self.kernel.code_origin()
    }

    fn check_stream(&self, stream: &Stream) -> Result<(), Error> {
        if self.kernel.is_on_gpu_of(stream) {
            return Ok(());
        }
        Err(Error::StreamDevice { found: stream.device_label().to_owned(), expected: self.device.to_string() })
    }

    fn enqueue(&self, stream: Option<&Stream>, source: &View<'_>, to: &CopyArgs<'_>) -> Result<(), Error> {
        let given = to.copies.iter().flatten().count();
        if given != self.asked.len() {
            return Err(Error::CopyCount { planned: self.asked.len(), given });
        }
        self.check_source(source)?;
        let no_backend = || Error::NoBackend { device: self.device.to_string() };
        let place = source.device_slice().ok_or_else(no_backend)?;
        let mut raw = RawCopies { source: place.address, ..RawCopies::default() };
        let mut used = [place.used_to_read(), None, None, None, None, None];
        if self.task.has_groups() {
            let (problem, _) = self.asked.last().ok_or_else(no_backend)?;
            let missing = || Error::MissingGroups { problem: problem.to_string() };
            let groups = to.groups.as_ref().ok_or_else(missing)?;
            check::groups(problem, &self.device, groups)?;
            let place = groups.device_slice().ok_or_else(no_backend)?;
            raw.groups = place.address;
            used[1] = place.used_to_read();
        }
        for (number, (elements, scales)) in to.copies.iter().flatten().enumerate() {
            let (problem, which) = &self.asked[number];
            let shape = self.task.copies()[number];
            check::tensor(problem, &self.device, &problem.tensors()[*which], &elements.as_view())?;
            check::scale(problem, &self.device, &shape.scales, &scales.as_view())?;
            let elements = elements.device_slice().ok_or_else(no_backend)?;
            let scales = scales.device_slice().ok_or_else(no_backend)?;
            raw.copies[number] = (elements.address, scales.address);
            used[2 + 2 * number] = elements.used_to_write();
            used[3 + 2 * number] = scales.used_to_write();
        }
        // SAFETY: the views hold as many elements of the problems' types as they span, and are valid on this GPU; what they
        // borrow from is kept until the work is done (see `DeviceMemory` and `View::from_device`), and copies are borrowed
        // mutably, so that they overlap nothing.
        unsafe { self.kernel.run(stream, used.into_iter().flatten(), raw) }
    }

    fn check_source(&self, source: &View<'_>) -> Result<(), Error> {
        let (problem, which) = &self.asked[0];
        let argument = problem.operation.tensor_names()[*which];
        check::source(problem, &self.device, argument, source, &self.task.extents())?;
        let found = source.element_type();
        if found == self.source {
            return Ok(());
        }
        Err(Error::ArgumentType { argument, found, expected: self.source, problem: problem.to_string() })
    }
}
