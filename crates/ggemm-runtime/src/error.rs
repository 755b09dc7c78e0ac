//! Everything that can go wrong between a problem and its result.

use ggemm_codegen::{Arch, Operation, ProblemError};

use crate::element::ElementType;
use crate::groups::GroupError;
use crate::select::{Fp8Unmet, PinError};

/// Why a call failed. A call that fails has written nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The problem means nothing.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// The groups are not what the problem says. Checked mode reports it; the CPU always checks.
    #[error(transparent)]
    Groups(#[from] GroupError),
    /// No backend of this build computes on the device.
    #[error("this build of ggemm cannot compute on {device}: use Device::cpu()")]
    NoBackend {
        /// The device.
        device: String,
    },
    /// A stream or event was asked of a device that has none.
    #[error("{device} has no streams, events or addresses: they are a GPU's; use Device::probe() or Device::cuda()")]
    NotAGpu {
        /// The device.
        device: String,
    },
    /// The driver refused a call, or reports that a kernel faulted.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Cuda(#[from] Box<crate::cuda::Failure>),
    /// There is no machine code for a kernel.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Code(#[from] Box<crate::cuda::CodeError>),
    /// A stream of one GPU was given to a plan of another.
    #[error("the stream is one of {found}, the plan runs on {expected}: make a stream there")]
    StreamDevice {
        /// Whose the stream is.
        found: String,
        /// Where the plan runs.
        expected: String,
    },
    /// A checked plan was run while its stream was captured.
    #[error(
        "a checked plan waits for the groups on the host, which a capture cannot: plan with Planner::checked(false), \
         or check before the capture"
    )]
    CheckedInCapture,
    /// ggemm's own buffers were used in a capture of another framework's stream, or such a stream was to be captured.
    #[error(
        "the stream is another framework's, whose captured work ggemm cannot order: capture one of ggemm's own streams, \
         or pass addresses (Plan::run_raw, View::from_device), which are the caller's to order"
    )]
    ForeignCapture,
    /// A pinned variant was given a tensor at an address that it cannot read or write.
    #[error(
        "{argument} lies at {address:#x}, {variant} needs a multiple of {needed} bytes, and no other variant may be chosen: align the tensor, or remove the pin where there is one"
    )]
    AddressAlignment {
        /// The variant.
        variant: &'static str,
        /// The tensor's name in the operation.
        argument: &'static str,
        /// Its address.
        address: u64,
        /// The alignment in bytes that the variant needs.
        needed: u32,
    },
    /// A range that is not within a buffer or view.
    #[error("elements {start}..{end} of {len} were asked for: give a range within 0..{len}")]
    Range {
        /// The range's start.
        start: usize,
        /// The range's end.
        end: usize,
        /// The elements that there are.
        len: usize,
    },
    /// A kernel variant is pinned for the CPU.
    #[error("{spec} is pinned, which is a GPU's kernel, and the device is the CPU: remove the pin or plan on a GPU")]
    PinnedOnCpu {
        /// The pinned variant.
        spec: String,
    },
    /// The pinned kernel variant cannot compute the problem.
    #[error(transparent)]
    Pin(#[from] Box<PinError>),
    /// No kernel set has a variant for the problem. The runtime's own has one for every problem.
    #[error(
        "no kernel set has a variant for `{problem}` on {arch}: bake one with kernels! and pass it to Planner::with"
    )]
    NoVariant {
        /// The problem, printed.
        problem: String,
        /// Where it was to be computed.
        arch: Arch,
    },
    /// No GPU kernel multiplies these fp8 operands.
    #[error("no kernel computes `{problem}` on {arch}: {reason}")]
    NoFp8Kernel {
        /// The problem, printed.
        problem: String,
        /// Where it was to be computed.
        arch: Arch,
        /// Why not, and what to do.
        reason: Fp8Unmet,
    },
    /// f32 operands on a GPU, whose tensor cores multiply nothing wider than TF32.
    #[error(
        "`{problem}` has f32 operands, which tensor cores of {arch} round to TF32, that is to 10 bits of fraction: allow it by Problem::allow_tf32(true) (--tf32, allow_tf32=True), or use Device::cpu()"
    )]
    NeedsTf32 {
        /// The problem, printed.
        problem: String,
        /// Where it was to be computed.
        arch: Arch,
    },
    /// An fp8 operand without its scales.
    #[error("{operand} has no scales, f32 {shape} are needed by `{problem}`: pass Operand::scaled(elements, scales)")]
    MissingScales {
        /// The operand's name in the operation.
        operand: &'static str,
        /// The extents of its scales.
        shape: String,
        /// The problem, printed.
        problem: String,
    },
    /// A quantizer for a problem that has nothing to quantize.
    #[error("`{problem}` multiplies no fp8: plan for e4m3 or e5m2 with a scaling")]
    NotFp8 {
        /// The problem, printed.
        problem: String,
    },
    /// Elements of a type that quantization does not start from.
    #[error("{argument} holds {found}: quantization starts from bf16, f16 or f32; pass one of them")]
    SourceType {
        /// The operand's name in the operation.
        argument: &'static str,
        /// What it holds.
        found: ElementType,
    },
    /// An operand of grad_w is to be quantized, and nobody said which rows are whose.
    #[error(
        "`{problem}` scales the rows of each group apart, and no groups were given: give their sizes or ends (`Quantizer::groups`; from Python `sizes=` or `ends=`)"
    )]
    MissingGroups {
        /// The problem, printed.
        problem: String,
    },
    /// Two quantized copies that no kernel makes of one read of their source.
    #[error(
        "no kernel makes both copies of one read of the source ({first}, then {second}): plan each by itself. Together go \
         tokens in blocks, then grad_w's copy in reduction_blocks of the same rows, and a weight in blocks as it lies, then \
         transposed"
    )]
    NotTogether {
        /// The first copy's problem, printed.
        first: String,
        /// The second's.
        second: String,
    },
    /// A run of a quantization with another number of copies than planned.
    #[error("the plan makes {planned} copies, and {given} were passed: pass elements and scales of each")]
    CopyCount {
        /// The copies planned.
        planned: usize,
        /// The copies given.
        given: usize,
    },
    /// A GPU that has no instruction for it was to quantize.
    #[error("{arch} has no conversion to fp8, sm_89 and later do: quantize on the CPU, from host memory")]
    NoFp8Conversion {
        /// The GPU's architecture.
        arch: Arch,
    },
    /// Scales of another type.
    #[error("{argument} holds {found}: scales are f32; convert them")]
    ScaleType {
        /// The scales' name in the operation.
        argument: &'static str,
        /// What they hold.
        found: ElementType,
    },
    /// An operand with scales in a problem that has none.
    #[error("{operand} has scales, and `{problem}` has none: pass the elements alone, or plan for fp8 with a scaling")]
    UnusedScales {
        /// The operand's name in the operation.
        operand: &'static str,
        /// The problem, printed.
        problem: String,
    },
    /// A baked kernel that another version of ggemm wrote, or that is damaged.
    #[error(
        "the kernel `{kernel}` of the set `{set}` cannot be read ({reason}): build the program anew, with one version of ggemm"
    )]
    UnreadableKernel {
        /// The name of its set.
        set: &'static str,
        /// Its name.
        kernel: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The interpreted kernel broke its protocol.
    #[cfg(feature = "interpret")]
    #[error(
        "the kernel breaks its protocol, and the output is left as it was: report this, or pin another variant\n{0}"
    )]
    Finding(Box<ggemm_codegen::interp::Finding>),
    /// A plan that computes without the interpreter was asked what the interpreter does.
    #[cfg(feature = "interpret")]
    #[error(
        "the plan computes with {variant}, not in the interpreter: call Plan::run, or plan with Planner::interpret"
    )]
    NotInterpreted {
        /// What computes the plan.
        variant: String,
    },
    /// Not enough memory for a buffer.
    #[error("{device} has no {bytes} bytes of memory left for a buffer: free some or ask for less")]
    OutOfMemory {
        /// The device.
        device: String,
        /// The bytes asked for.
        bytes: usize,
    },
    /// A buffer was read or written as another type.
    #[error("the buffer holds {held}, not {asked}: use its own type")]
    ElementType {
        /// What it holds.
        held: ElementType,
        /// What was asked for.
        asked: ElementType,
    },
    /// A slice of another length was copied into a buffer.
    #[error("{given} elements cannot be copied into a buffer of {held}: give exactly {held}")]
    CopyLength {
        /// The buffer's length.
        held: usize,
        /// The slice's length.
        given: usize,
    },
    /// Bytes that cannot be seen as elements of a type.
    #[error(
        "{bytes} bytes at an address that is {offset} past a multiple of {size} are no {ty} elements: give a multiple of {size} bytes that starts at a multiple of {size}"
    )]
    Bytes {
        /// The elements' type.
        ty: ElementType,
        /// The number of bytes.
        bytes: usize,
        /// The address modulo the element's size.
        offset: usize,
        /// The element's size in bytes.
        size: usize,
    },
    /// Arguments of one operation were given to a plan of another.
    #[error("the arguments are those of {given}, the plan computes {planned}: use Args::{planned}")]
    Operation {
        /// The operation that the arguments were named for.
        given: Operation,
        /// The operation that the plan computes.
        planned: Operation,
    },
    /// An argument of the wrong type.
    #[error("{argument} holds {found}, {expected} is needed by `{problem}`: pass {expected} or plan for {found}")]
    ArgumentType {
        /// The tensor's name in the operation, or `groups`.
        argument: &'static str,
        /// What it holds.
        found: ElementType,
        /// What the problem says.
        expected: ElementType,
        /// The problem, printed.
        problem: String,
    },
    /// An argument that is too short, or an array of groups of the wrong length.
    #[error("{argument} has {found} elements, {needed} are needed by `{problem}` ({shape}): pass {remedy} {needed}")]
    ArgumentLength {
        /// The tensor's name in the operation, or `groups`.
        argument: &'static str,
        /// Its length.
        found: usize,
        /// The length that the problem needs.
        needed: usize,
        /// The argument's shape and strides.
        shape: String,
        /// `at least`, or `exactly`.
        remedy: &'static str,
        /// The problem, printed.
        problem: String,
    },
    /// An argument that lies on another device than the plan's.
    #[error("{argument} lies on {found}, the plan runs on {expected}: copy it there or plan there")]
    ArgumentDevice {
        /// The tensor's name in the operation, or `groups`.
        argument: &'static str,
        /// Where it lies.
        found: String,
        /// Where the plan runs.
        expected: String,
    },
}

#[cfg(feature = "cuda")]
impl From<crate::cuda::Failure> for Error {
    fn from(failure: crate::cuda::Failure) -> Self {
        Error::Cuda(Box::new(failure))
    }
}

#[cfg(feature = "cuda")]
impl From<crate::cuda::CodeError> for Error {
    fn from(error: crate::cuda::CodeError) -> Self {
        Error::Code(Box::new(error))
    }
}

impl Error {
    pub(crate) fn bytes(ty: ElementType, bytes: &[u8]) -> Self {
        let size = ty.size_bytes();
        Error::Bytes { ty, bytes: bytes.len(), offset: bytes.as_ptr().addr() % size, size }
    }
}
