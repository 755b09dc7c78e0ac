//! Launching quantization.

use ggemm_codegen::kernels::quantize::Task;
use ggemm_codegen::launch::Operand;

use super::code::CodeOrigin;
use super::gpu::Gpu;
use super::launch::Launch;
use super::memory::{self, Used};
use super::stream::Stream;
use crate::catalogue::QUANTIZERS;
use crate::error::Error;

/// The addresses of one quantization's tensors in the GPU's memory, for
/// [`QuantizePlan::run_raw`](crate::quantize::QuantizePlan::run_raw).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawCopies {
    /// What is quantized.
    pub source: u64,
    /// The G sizes or ends; anything where the plan reads none.
    pub groups: u64,
    /// Of each copy its elements and its scales; anything for a second one that the plan does not make.
    pub copies: [(u64, u64); 2],
}

/// The bytes at whose multiples tensors start for whole accesses.
const ALIGNMENT: u64 = 16;

/// A quantization and its kernel on a GPU.
#[derive(Clone, Debug)]
pub(crate) struct CudaQuantizer {
    gpu: &'static Gpu,
    copies: usize,
    /// For rows and tensors that start at multiples of 16 bytes; `None` where rows do not.
    aligned: Option<Launch>,
    any: Launch,
}

impl CudaQuantizer {
    pub(crate) fn new(gpu: &'static Gpu, task: &Task) -> Result<Self, Error> {
        let spec = task.spec();
        if !gpu.arch().executes(spec.arch()) {
            return Err(Error::NoFp8Conversion { arch: gpu.arch() });
        }
        let unreadable = |reason: String| Error::UnreadableKernel { set: QUANTIZERS.name, kernel: "quantize", reason };
        let baked = QUANTIZERS.find(&spec.to_string()).ok_or_else(|| unreadable(format!("{spec} is not in it")))?;
        let contract = baked.contract().map_err(|error| unreadable(error.to_string()))?;
        let launch = |aligned| -> Result<Launch, Error> {
            let argument = |role| task.argument(role, aligned);
            let launch = Launch::of(gpu, (QUANTIZERS.name, baked), &contract, argument)?;
            let grid = task.grid(launch.kernel().resident());
            Ok(launch.on(grid))
        };
        let aligned = if task.is_aligned() { Some(launch(true)?) } else { None };
        Ok(CudaQuantizer { gpu, copies: task.copies().len(), aligned, any: launch(false)? })
    }

    pub(crate) fn code_origin(&self) -> CodeOrigin {
        self.any.kernel().origin()
    }

    pub(crate) fn is_on_gpu_of(&self, stream: &Stream) -> bool {
        std::ptr::eq(self.gpu, stream.gpu())
    }

    /// Asks `stream`, or the GPU's own, for the copies, behind the earlier uses of what it uses.
    ///
    /// # Safety
    /// As [`CudaQuantizer::run_raw`].
    pub(crate) unsafe fn run(
        &self,
        stream: Option<&Stream>,
        used: impl IntoIterator<Item = Used>,
        raw: RawCopies,
    ) -> Result<(), Error> {
        let stream = match stream {
            Some(stream) => stream,
            None => self.gpu.own_stream()?,
        };
        // SAFETY: the caller's promise.
        memory::ordered(stream, used, || unsafe { self.run_raw(stream, raw) })
    }

    /// # Safety
    /// Each address is that of a tensor as the task says, in memory that the GPU can read or write and that is valid until
    /// the work is done; copies overlap nothing.
    pub(crate) unsafe fn run_raw(&self, stream: &Stream, raw: RawCopies) -> Result<(), Error> {
        let elements = raw.copies.iter().take(self.copies).map(|copy| copy.0);
        let starts_aligned = [raw.source].into_iter().chain(elements).all(|a| a.is_multiple_of(ALIGNMENT));
        let launch = self.aligned.as_ref().filter(|_| starts_aligned).unwrap_or(&self.any);
        let copy = |number: u8| raw.copies.get(usize::from(number)).copied().unwrap_or_default();
        let address_of = |operand| match operand {
            Operand::Source => raw.source,
            Operand::Groups => raw.groups,
            Operand::Elements(number) => copy(number).0,
            Operand::Scales(number) => copy(number).1,
            _ => 0,
        };
        // SAFETY: the caller's promise; the kernel stays within the tensors whatever the groups say.
        unsafe { launch.enqueue(self.gpu, stream, address_of) }
    }
}
