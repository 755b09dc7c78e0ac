//! Launching: a contraction's values in the order of a kernel's parameters.

use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use ggemm_codegen::ir::{MappedTensor, ParamRole, ParamType, PartialSums};
use ggemm_codegen::launch::{self, Argument, Operand};
use ggemm_codegen::{Contract, Contraction, IndexType, Problem};

use super::code::CodeOrigin;
use super::gpu::Gpu;
use super::kernel::LoadedKernel;
use super::memory::{self, Access, DeviceSlice};
use super::realign::Copies;
use super::stream::Stream;
use super::sum_slots::READY_BYTES;
use super::tensor_map::TensorMap;
use super::workspace::WORDS_BYTES;
use crate::args::Args;
use crate::baked::BakedKernel;
use crate::buffer::View;
use crate::error::Error;
use crate::groups::Runs;
use crate::select::{Candidate, Selection, Variant};

/// The addresses of one run's tensors in the GPU's memory, for [`Plan::run_raw`](crate::Plan::run_raw).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawArgs {
    /// The operation's first operand: x of forward, dy of the others.
    pub lhs: u64,
    /// Its second operand: w, or x of grad_w.
    pub rhs: u64,
    /// The G sizes or ends.
    pub groups: u64,
    /// Its output.
    pub out: u64,
    /// The scales of the first operand and of the second; 0 for operands that have none.
    pub scales: [u64; 2],
}

/// A problem and the kernels that compute it on a GPU.
#[derive(Clone, Debug)]
pub(crate) struct CudaPlan {
    gpu: &'static Gpu,
    problem: Problem,
    contraction: Contraction,
    selection: Selection,
    preferred: Launch,
    /// What the preferred variant multiplies in place of operands whose rows it cannot address.
    copies: Option<Copies>,
    /// For tensors at addresses that the preferred variant does not take; loaded when such a tensor first comes.
    fallback: Arc<Mutex<Option<Launch>>>,
    checked: bool,
}

impl CudaPlan {
    /// Loads the selection's preferred kernel.
    pub(crate) fn new(
        gpu: &'static Gpu,
        problem: &Problem,
        selection: Selection,
        checked: bool,
    ) -> Result<Self, Error> {
        let contraction = problem.contraction();
        let Candidate { variant, realigned, .. } = selection.preferred();
        let preferred = Launch::new(gpu, variant, &realigned.product(&contraction))?;
        let copies = Copies::new(gpu, realigned, &contraction)?;
        let (problem, fallback) = (problem.clone(), Arc::default());
        Ok(CudaPlan { gpu, problem, contraction, selection, preferred, copies, fallback, checked })
    }

    /// Where the preferred kernel's machine code came from.
    pub(crate) fn code_origin(&self) -> CodeOrigin {
        self.preferred.kernel.origin()
    }

    pub(crate) fn is_on_gpu_of(&self, stream: &Stream) -> bool {
        ptr::eq(self.gpu, stream.gpu())
    }

    /// Asks `stream` for the product. The arguments have passed [`check::args`](crate::check::args), so all of them lie
    /// on the plan's device.
    pub(crate) fn run(&self, stream: Option<&Stream>, args: &Args<'_>) -> Result<(), Error> {
        let (Some(lhs), Some(rhs), Some(groups), Some(out)) = (
            args.lhs.elements.device_slice(),
            args.rhs.elements.device_slice(),
            args.groups.device_slice(),
            args.out.device_slice(),
        ) else {
            return Err(Error::NoBackend { device: self.gpu.label().to_owned() });
        };
        let stream = match stream {
            Some(stream) => stream,
            None => self.gpu.own_stream()?,
        };
        if self.checked {
            self.check_groups(stream, groups)?;
        }
        // Those that the problem asks for are there, on the plan's device: `check::args` saw to it.
        let scales = [&args.lhs, &args.rhs].map(|operand| operand.scales.as_ref().and_then(View::device_slice));
        let used = [lhs, rhs, groups].map(|read| read.used(Access::Read)).into_iter().chain([out.used(Access::Write)]);
        let used = used.chain(scales.iter().flatten().map(|scales| scales.used(Access::Read)));
        let raw = RawArgs {
            lhs: lhs.address,
            rhs: rhs.address,
            groups: groups.address,
            out: out.address,
            scales: scales.map(|scales| scales.map_or(0, |scales| scales.address)),
        };
        // SAFETY: the views hold as many elements of the problem's types as it spans, and are valid on this GPU; what
        // they borrow from is kept until the work is done (see `DeviceMemory` and `View::from_device`).
        memory::ordered(stream, used.flatten(), || unsafe { self.launch(stream, raw) })
    }

    /// The same for addresses.
    ///
    /// # Safety
    /// As [`Plan::run_raw`](crate::Plan::run_raw).
    pub(crate) unsafe fn run_raw(&self, stream: &Stream, args: RawArgs) -> Result<(), Error> {
        if self.checked {
            let (ty, len) = (self.problem.group_index.into(), self.problem.groups);
            self.check_groups(stream, DeviceSlice { address: args.groups, ty, len, owner: None })?;
        }
        // SAFETY: the caller's promise.
        unsafe { self.launch(stream, args) }
    }

    /// Refuses groups that contradict the problem, which takes a synchronization.
    fn check_groups(&self, stream: &Stream, groups: DeviceSlice<'_>) -> Result<(), Error> {
        if stream.is_capturing()? {
            return Err(Error::CheckedInCapture);
        }
        let values: Vec<i64> = match self.problem.group_index {
            IndexType::I32 => groups.to_host::<i32>(stream)?.into_iter().map(i64::from).collect(),
            IndexType::I64 => groups.to_host::<i64>(stream)?,
        };
        Runs::checked(&self.problem, values)?;
        Ok(())
    }

    /// # Safety
    /// The addresses are valid as [`Plan::run_raw`](crate::Plan::run_raw) says.
    unsafe fn launch(&self, stream: &Stream, args: RawArgs) -> Result<(), Error> {
        let (mut operands, mut scales) = ([args.lhs, args.rhs], args.scales);
        if self.contraction.operands_exchanged {
            operands.reverse();
            scales.reverse();
        }
        let [a, b] = operands;
        let pointers = Pointers { a, b, d: args.out, groups: args.groups, scales };
        let candidate = self.candidate(stream, pointers)?.ok_or_else(|| self.misaligned(args))?;
        if ptr::eq(candidate.variant, self.selection.preferred().variant) {
            let Some(copies) = &self.copies else {
                // SAFETY: the caller's promise, and the variant takes these addresses.
                return unsafe { self.preferred.enqueue(self.gpu, stream, |operand| pointers.of(operand)) };
            };
            let _turn = self.gpu.copy_memory().turn();
            return memory::ordered(stream, [copies.used()], || {
                // SAFETY: the caller's promise, and the stream is ordered with all that use the copies' memory.
                let pointers = unsafe { copies.enqueue(self.gpu, stream, pointers)? };
                // SAFETY: as above.
                unsafe { self.preferred.enqueue(self.gpu, stream, |operand| pointers.of(operand)) }
            });
        }
        let fallback = self.fallback(candidate)?;
        // SAFETY: as above.
        unsafe { fallback.enqueue(self.gpu, stream, |operand| pointers.of(operand)) }
    }

    /// The variant for these addresses on this stream. Another framework's capture may be replayed whenever that likes, and
    /// nothing orders it with the other users of the copies' memory: there none are made.
    fn candidate(&self, stream: &Stream, pointers: Pointers) -> Result<Option<Candidate>, Error> {
        if self.copies.is_some() && stream.is_foreign() && stream.is_capturing()? {
            return self.selection.fallback().map(Some).ok_or(Error::ForeignCapture);
        }
        Ok(self.selection.for_addresses(&[pointers.a, pointers.b, pointers.d]))
    }

    fn fallback(&self, candidate: Candidate) -> Result<Launch, Error> {
        let mut fallback = self.fallback.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fallback) = fallback.as_ref() {
            return Ok(fallback.clone());
        }
        let launch = Launch::new(self.gpu, candidate.variant, &self.contraction)?;
        Ok(fallback.insert(launch).clone())
    }

    /// The only variant there is was given tensors at addresses that it does not take.
    fn misaligned(&self, args: RawArgs) -> Error {
        let preferred = self.selection.preferred();
        let (variant, [mut lhs_needed, mut rhs_needed, out_needed]) = (preferred.variant, preferred.alignments());
        if self.contraction.operands_exchanged {
            std::mem::swap(&mut lhs_needed, &mut rhs_needed);
        }
        let [lhs, rhs, out] = self.problem.tensors();
        let named =
            [(lhs.name, args.lhs, lhs_needed), (rhs.name, args.rhs, rhs_needed), (out.name, args.out, out_needed)];
        let off = named.into_iter().find(|(_, address, needed)| !address.is_multiple_of(u64::from((*needed).max(1))));
        let (argument, address, needed) = off.unwrap_or((out.name, args.out, out_needed));
        Error::AddressAlignment { variant: variant.name(), argument, address, needed }
    }
}

/// The most parameters that a kernel has.
const MOST_PARAMETERS: usize = 32;

/// The most tensor maps among them.
const MOST_MAPS: usize = 4;

/// A loaded kernel with all of its arguments but the addresses.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    kernel: Arc<LoadedKernel>,
    grid: u32,
    threads: u32,
    shared_bytes: u32,
    cluster: u32,
    dependent: bool,
    has_workspace: bool,
    partial_sums: Option<PartialSums>,
    arguments: [Argument; MOST_PARAMETERS],
    count: usize,
    maps: Vec<MapArgument>,
}

/// A tensor map among the parameters.
#[derive(Clone, Copy, Debug)]
struct MapArgument {
    /// The parameter's index.
    param: usize,
    operand: Operand,
    map: TensorMap,
}

/// Where a contraction's tensors are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointers {
    pub(super) a: u64,
    pub(super) b: u64,
    d: u64,
    pub(super) groups: u64,
    scales: [u64; 2],
}

impl Pointers {
    fn of(&self, operand: Operand) -> u64 {
        match operand {
            Operand::A => self.a,
            Operand::B => self.b,
            Operand::D => self.d,
            Operand::Groups => self.groups,
            Operand::AScales => self.scales[0],
            Operand::BScales => self.scales[1],
            // The launch's own, or none of a product's.
            _ => 0,
        }
    }
}

impl Launch {
    pub(super) fn kernel(&self) -> &LoadedKernel {
        &self.kernel
    }

    /// The same on so many CTAs.
    pub(super) fn on(self, grid: u32) -> Self {
        Launch { grid, ..self }
    }

    fn new(gpu: &'static Gpu, variant: &'static Variant, contraction: &Contraction) -> Result<Self, Error> {
        let contract = variant.contract();
        let unreadable =
            |reason: String| Error::UnreadableKernel { set: variant.set(), kernel: variant.name(), reason };
        let argument = |role| launch::argument(role, contraction);
        let mut launch = Self::of(gpu, (variant.set(), variant.kernel()), contract, argument)?;
        let places = contract.params.iter().enumerate().filter(|(_, p)| matches!(p.ty, ParamType::TensorMap(_)));
        for ((param, _), MappedTensor { map, tensor, .. }) in places.zip(contract.maps(contraction)) {
            let Argument::Pointer(operand) = launch.arguments[param] else {
                return Err(unreadable(format!("its parameter {param} is a tensor map over no tensor")));
            };
            launch.maps.push(MapArgument { param, operand, map: TensorMap::encode(gpu, map, tensor)? });
        }
        if launch.maps.len() > MOST_MAPS || launch.maps.len() < contract.tensor_maps.len() {
            return Err(unreadable(format!("it has {} tensor maps", contract.tensor_maps.len())));
        }
        launch.grid = launch::grid(contract.grid, variant.spec(), contraction, launch.kernel.resident());
        let words = contract.partial_sums.map_or(0, |sums| u64::from(sums.words) * u64::from(launch.grid));
        if words * 4 > READY_BYTES {
            return Err(unreadable(format!("it needs {words} words for {} CTAs' sums", launch.grid)));
        }
        if let Some(bytes) = launch.bytes_of_sums() {
            gpu.reserve_sum_slots(bytes)?;
        }
        Ok(launch)
    }

    /// What its CTAs leave for each other, where they do.
    fn bytes_of_sums(&self) -> Option<u64> {
        self.partial_sums.map(|sums| u64::from(self.grid) * u64::from(sums.slot_bytes))
    }

    /// A kernel of a set with these arguments, without a grid.
    pub(super) fn of(
        gpu: &'static Gpu,
        (set, baked): (&'static str, &'static BakedKernel),
        contract: &Contract,
        argument: impl Fn(ParamRole) -> Argument,
    ) -> Result<Self, Error> {
        let unreadable = |reason: String| Error::UnreadableKernel { set, kernel: baked.name, reason };
        let count = contract.params.len();
        if count > MOST_PARAMETERS {
            return Err(unreadable(format!("it has {count} parameters, at most {MOST_PARAMETERS} can be launched")));
        }
        if contract.workspace_bytes > WORDS_BYTES {
            let bytes = contract.workspace_bytes;
            return Err(unreadable(format!("it needs {bytes} bytes of workspace, at most {WORDS_BYTES} are there")));
        }
        let kernel = gpu.kernel(baked, contract)?;
        let mut arguments = [Argument::Integer(0); MOST_PARAMETERS];
        for (value, param) in arguments.iter_mut().zip(&contract.params) {
            *value = argument(param.role);
        }
        if contract.workspace_bytes > 0 {
            gpu.reserve_workspaces()?;
        }
        Ok(Launch {
            grid: 0,
            threads: contract.threads,
            shared_bytes: contract.shared_bytes,
            cluster: contract.cluster.max(1),
            dependent: contract.dependent_launch && gpu.overlaps_launches(),
            has_workspace: contract.workspace_bytes > 0,
            partial_sums: contract.partial_sums,
            kernel,
            arguments,
            count,
            maps: Vec::new(),
        })
    }

    /// Asks `stream` for the launch.
    ///
    /// # Safety
    /// The addresses are of what the arguments say, in memory that is valid until the work is done.
    pub(super) unsafe fn enqueue(
        &self,
        gpu: &'static Gpu,
        stream: &Stream,
        address_of: impl Fn(Operand) -> u64,
    ) -> Result<(), Error> {
        if self.grid == 0 {
            return Ok(());
        }
        let workspace = if self.has_workspace { gpu.workspace(stream)? } else { 0 };
        let slots = self.bytes_of_sums().map_or(Ok(0), |bytes| gpu.sum_slots(stream, bytes))?;
        let address_of = |operand| match operand {
            Operand::Workspace => workspace,
            Operand::PartialSumsReady => slots,
            Operand::PartialSums => slots + READY_BYTES,
            operand => address_of(operand),
        };
        let mut values = [0_u64; MOST_PARAMETERS];
        for (value, argument) in values.iter_mut().zip(&self.arguments) {
            *value = match argument {
                Argument::Pointer(operand) => address_of(*operand),
                Argument::Integer(integer) => integer.cast_unsigned(),
            };
        }
        // The driver reads as many bytes of each as the parameter has: on a little-endian host, the low ones.
        const { assert!(cfg!(target_endian = "little"), "CUDA's hosts are little-endian") };
        let mut places = [ptr::null_mut::<c_void>(); MOST_PARAMETERS];
        for (place, value) in places.iter_mut().zip(&mut values) {
            *place = ptr::from_mut(value).cast();
        }
        let _current = gpu.enter()?;
        let mut maps = [None; MOST_MAPS];
        for (slot, MapArgument { param, operand, map }) in maps.iter_mut().zip(&self.maps) {
            let map: &mut TensorMap = slot.insert(*map);
            map.set_address(gpu, address_of(*operand))?;
            places[*param] = map.place();
        }
        // SAFETY: function and stream are live; there are as many places as the kernel has parameters, each of at least
        // their sizes; the caller vouches for the pointers, and the kernel stays within them whatever the groups say.
        let launched = unsafe { self.launch(stream, &mut places[..self.count]) };
        gpu.launched(self.kernel.name());
        Ok(gpu.check("cuLaunchKernel", launched)?)
    }

    /// # Safety
    /// The places are those of the kernel's parameters.
    unsafe fn launch(&self, stream: &Stream, places: &mut [*mut c_void]) -> Result<(), DriverError> {
        if self.cluster == 1 && !self.dependent {
            let (grid, block) = ((self.grid, 1, 1), (self.threads, 1, 1));
            // SAFETY: the caller's promise.
            return unsafe {
                let function = self.kernel.function();
                result::launch_kernel(function, grid, block, self.shared_bytes, stream.raw(), places)
            };
        }
        let mut attributes = super::attributes::of(self.cluster, self.dependent);
        let config =
            super::attributes::config(self.grid, self.threads, self.shared_bytes, Some(stream), &mut attributes);
        // SAFETY: the caller's promise; the configuration's attributes live through the call.
        let launched = unsafe {
            sys::cuLaunchKernelEx(&raw const config, self.kernel.function(), places.as_mut_ptr(), ptr::null_mut())
        };
        launched.result()
    }
}
