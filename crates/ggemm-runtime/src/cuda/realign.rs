//! Copies of operands to aligned rows, which a plan makes before its product.
//!
//! All plans of a GPU share the memory for them, which is as large as the largest need: what one holds is no longer wanted
//! when the next begins. Runs on several streams wait for each other as they do for buffers that they share, and so do
//! graphs, which keep the memory alive. Threads take turns: copies and the product that reads them are asked for together,
//! with nobody's copies between, and are known to whoever asks next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ggemm_codegen::Contraction;
use ggemm_codegen::kernels::realign::{RealignTask, Realigned, Which};
use ggemm_codegen::launch::Operand;

use super::gpu::Gpu;
use super::launch::{Launch, Pointers};
use super::memory::{Access, DeviceMemory, Used};
use super::stream::Stream;
use crate::catalogue::REALIGNERS;
use crate::error::Error;

/// Where copies start: at multiples of so many bytes, as allocations do.
const ALIGNMENT: usize = 256;

/// The memory that a GPU's plans share for copies, as long as one of them has it.
#[derive(Debug, Default)]
pub(super) struct CopyMemory {
    shared: Mutex<Weak<DeviceMemory>>,
    turn: Mutex<()>,
}

impl CopyMemory {
    /// Held by whoever asks for work that makes copies and reads them, from when it looks at their memory's earlier uses
    /// until its own is noted.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory of at least so many bytes: what others have, where it is large enough.
    fn reserve(&self, gpu: &'static Gpu, bytes: usize) -> Result<Arc<DeviceMemory>, Error> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = shared.upgrade().filter(|memory| memory.bytes() >= bytes) {
            return Ok(memory);
        }
        let memory = DeviceMemory::new(gpu, bytes)?;
        *shared = Arc::downgrade(&memory);
        Ok(memory)
    }
}

/// The copies that a product is made of.
#[derive(Clone, Debug)]
pub(super) struct Copies {
    of: Vec<CopyOf>,
    memory: Arc<DeviceMemory>,
}

/// One of them.
#[derive(Clone, Debug)]
struct CopyOf {
    which: Which,
    launch: Launch,
    /// Bytes from the memory's start.
    offset: u64,
}

impl Copies {
    /// Loads the kernels and reserves the memory; `None` where nothing is copied.
    pub(super) fn new(
        gpu: &'static Gpu,
        realigned: Realigned,
        contraction: &Contraction,
    ) -> Result<Option<Self>, Error> {
        let (mut of, mut bytes) = (Vec::new(), 0_usize);
        for task in realigned.tasks(contraction) {
            of.push(CopyOf { which: task.which(), launch: launch(gpu, &task)?, offset: bytes as u64 });
            bytes = bytes.saturating_add(task.copy_bytes()).checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX);
        }
        if of.is_empty() {
            return Ok(None);
        }
        let memory = gpu.copy_memory().reserve(gpu, bytes)?;
        Ok(Some(Copies { of, memory }))
    }

    /// What work that makes and reads the copies uses.
    pub(super) fn used(&self) -> Used {
        (Arc::clone(&self.memory), Access::Write)
    }

    /// Asks `stream` for the copies, and tells where the product finds its operands.
    ///
    /// # Safety
    /// The pointers are those of the contraction's tensors, in memory that is valid until the work is done, and the stream
    /// is ordered with all uses of the memory for copies.
    pub(super) unsafe fn enqueue(
        &self,
        gpu: &'static Gpu,
        stream: &Stream,
        pointers: Pointers,
    ) -> Result<Pointers, Error> {
        let mut of_product = pointers;
        for CopyOf { which, launch, offset } in &self.of {
            let copy = self.memory.address() + offset;
            let source = match which {
                Which::A => std::mem::replace(&mut of_product.a, copy),
                Which::B => std::mem::replace(&mut of_product.b, copy),
            };
            let address_of = |operand| match operand {
                Operand::Source => source,
                Operand::Elements(_) => copy,
                Operand::Groups => pointers.groups,
                _ => 0,
            };
            // SAFETY: the caller's promise; the copy lies in the memory, of which it has a part of its own.
            unsafe { launch.enqueue(gpu, stream, address_of)? };
        }
        Ok(of_product)
    }
}

fn launch(gpu: &'static Gpu, task: &RealignTask) -> Result<Launch, Error> {
    let name = task.spec().to_string();
    let unreadable = |reason: String| Error::UnreadableKernel { set: REALIGNERS.name, kernel: "realign", reason };
    let baked = REALIGNERS.find(&name).ok_or_else(|| unreadable(format!("{name} is not in it")))?;
    let contract = baked.contract().map_err(|error| unreadable(error.to_string()))?;
    let grid = task.grid().ok_or_else(|| unreadable("it has no grid for so many blocks".to_owned()))?;
    Ok(Launch::of(gpu, (REALIGNERS.name, baked), &contract, |role| task.argument(role))?.on(grid))
}
