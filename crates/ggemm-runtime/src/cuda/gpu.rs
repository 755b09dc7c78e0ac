//! One GPU of this process: its context, its own stream, and the kernels that are loaded there.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use ggemm_codegen::{Arch, Contract};

use super::attributes;
use super::context::{Context, Current};
use super::failure::{Failure, code};
use super::kernel::LoadedKernel;
use super::realign::CopyMemory;
use super::stream::Stream;
use super::sum_slots::SumSlots;
use super::workspace::Workspaces;
use crate::baked::BakedKernel;
use crate::error::Error;

/// A GPU whose context exists. There is one for each ordinal, for the life of the process.
pub(crate) struct Gpu {
    label: String,
    arch: Arch,
    context: Context,
    multiprocessors: u32,
    overlaps_launches: bool,
    own_stream: OnceLock<Stream>,
    kernels: Mutex<HashMap<&'static str, Slot>>,
    last_launched: Mutex<Option<&'static str>>,
    workspaces: Mutex<Workspaces>,
    sum_slots: Mutex<SumSlots>,
    copy_memory: CopyMemory,
}

/// A kernel that is loaded, or is being loaded by whoever holds the lock.
type Slot = Arc<Mutex<Option<Arc<LoadedKernel>>>>;

impl Gpu {
    /// The GPU of this ordinal; its context is made when it is first asked for, which takes the driver some 100 ms.
    pub(crate) fn open(ordinal: usize, label: &str, arch: Arch) -> Result<&'static Gpu, Failure> {
        static OPEN: Mutex<BTreeMap<usize, &'static Gpu>> = Mutex::new(BTreeMap::new());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gpu) = open.get(&ordinal) {
            return Ok(gpu);
        }
        let failure = |(call, code)| Failure { call, code, device: label.to_owned(), last_launched: None };
        let (context, device) = Context::primary(ordinal).map_err(failure)?;
        let attribute = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        // SAFETY: `device` is what `cuDeviceGet` returned.
        let count = unsafe { result::device::get_attribute(device, attribute) }
            .map_err(|error| failure(("cuDeviceGetAttribute", code(error))))?;
        let gpu: &'static Gpu = Box::leak(Box::new(Gpu {
            label: label.to_owned(),
            arch,
            context,
            multiprocessors: u32::try_from(count).unwrap_or(1).max(1),
            overlaps_launches: attributes::may_overlap_launches(),
            own_stream: OnceLock::new(),
            kernels: Mutex::default(),
            last_launched: Mutex::default(),
            workspaces: Mutex::default(),
            sum_slots: Mutex::default(),
            copy_memory: CopyMemory::default(),
        }));
        open.insert(ordinal, gpu);
        Ok(gpu)
    }

    /// The stream of whoever names none.
    pub(crate) fn own_stream(&'static self) -> Result<&'static Stream, Failure> {
        if let Some(stream) = self.own_stream.get() {
            return Ok(stream);
        }
        // Of two threads that come here at once, one throws its stream away.
        let stream = Stream::create(self)?;
        Ok(self.own_stream.get_or_init(|| stream))
    }

    /// The machine code of `baked`, loaded. Threads that ask for one kernel at a time load it once.
    pub(super) fn kernel(
        &'static self,
        baked: &'static BakedKernel,
        contract: &Contract,
    ) -> Result<Arc<LoadedKernel>, Error> {
        let slot = {
            let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(kernels.entry(baked.name).or_default())
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        // Two sets may hold kernels of one name but of different text, if their crates were built with two versions of
        // ggemm: the one that is loaded serves only its own text.
        if let Some(kernel) = slot.as_ref().filter(|kernel| kernel.is_of(baked)) {
            return Ok(Arc::clone(kernel));
        }
        let kernel = Arc::new(LoadedKernel::load(self, baked, contract)?);
        *slot = Some(Arc::clone(&kernel));
        Ok(kernel)
    }

    /// The words of a launch on `stream`, which the kernel finds at 0 and leaves at 0.
    pub(super) fn workspace(&self, stream: &Stream) -> Result<u64, Failure> {
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).words(self, stream)
    }

    /// Memory for a launch on `stream` whose CTAs leave each other so many bytes of sums.
    pub(super) fn sum_slots(&self, stream: &Stream, bytes: u64) -> Result<u64, Failure> {
        self.sum_slots.lock().unwrap_or_else(PoisonError::into_inner).address(self, stream, bytes)
    }

    /// Sees to it that the next launch whose sums take so many bytes need not allocate for them.
    pub(super) fn reserve_sum_slots(&self, bytes: u64) -> Result<(), Failure> {
        self.sum_slots.lock().unwrap_or_else(PoisonError::into_inner).reserve(self, bytes)
    }

    /// Sees to it that the next launch need not allocate.
    pub(super) fn reserve_workspaces(&self) -> Result<(), Failure> {
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).reserve(self)
    }

    /// What plans share for copies of operands.
    pub(super) fn copy_memory(&self) -> &CopyMemory {
        &self.copy_memory
    }

    pub(crate) fn arch(&self) -> Arch {
        self.arch
    }

    pub(super) fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    /// Whether a kernel may begin while the launch before it ends, if it waits for that one's end on its own.
    pub(super) fn overlaps_launches(&self) -> bool {
        self.overlaps_launches
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Makes the context current until the result is dropped.
    pub(super) fn enter(&self) -> Result<Current, Failure> {
        self.context.enter().map_err(|(call, code)| self.failure(call, code))
    }

    pub(super) fn check<T>(&self, call: &'static str, result: Result<T, DriverError>) -> Result<T, Failure> {
        result.map_err(|error| self.failure(call, code(error)))
    }

    fn failure(&self, call: &'static str, code: u32) -> Failure {
        let last_launched = *self.last_launched.lock().unwrap_or_else(PoisonError::into_inner);
        Failure { call, code, device: self.label.clone(), last_launched }
    }

    /// Remembers what to name should a later call report a fault.
    pub(super) fn launched(&self, name: &'static str) {
        *self.last_launched.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }

    /// Waits for all that this process asked of the GPU.
    pub(crate) fn synchronize(&self) -> Result<(), Failure> {
        let _current = self.enter()?;
        self.check("cuCtxSynchronize", result::ctx::synchronize())
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}
