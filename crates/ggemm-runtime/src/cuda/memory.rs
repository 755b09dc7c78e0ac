//! Device memory, and the order in which streams use it.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{result, sys};

use super::event::Event;
use super::failure::Failure;
use super::gpu::Gpu;
use super::stream::Stream;
use crate::element::{Element, ElementType};
use crate::error::Error;

/// Memory of a GPU that ggemm owns.
#[derive(Debug)]
pub(crate) struct DeviceMemory {
    gpu: &'static Gpu,
    address: sys::CUdeviceptr,
    bytes: usize,
    uses: Mutex<Uses>,
}

/// What a piece of work does with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Memory, and what work does with it.
pub(crate) type Used = (Arc<DeviceMemory>, Access);

/// Who used the memory last.
#[derive(Debug, Default)]
struct Uses {
    writer: Option<Mark>,
    /// Readers since; each of them waited for the writer.
    readers: Vec<Mark>,
}

/// A use.
#[derive(Clone, Debug)]
struct Mark {
    stream: Stream,
    /// For another framework's stream, which may be gone when somebody wants to wait for it: the point after the use.
    event: Option<Arc<Event>>,
}

impl Mark {
    /// Makes `stream` wait for the use.
    fn hold_back(&self, stream: &Stream) -> Result<(), Failure> {
        match &self.event {
            // Even where the handles are equal: the driver gives those of destroyed streams to new ones.
            Some(event) => stream.wait_for(event),
            None if &self.stream == stream => Ok(()),
            // Before a capture the stream was drained; what it was asked for since is the graph's, which orders itself.
            None if self.stream.is_captured() => Ok(()),
            None => {
                // Later than need be, where the stream was asked for more since; but a launch costs no event.
                let event = Event::untimed(self.stream.gpu())?;
                event.record_on(&self.stream)?;
                stream.wait_for(&event)
            }
        }
    }
}

impl DeviceMemory {
    /// Memory that holds anything. At least one byte is allocated, so that every address is valid.
    pub(crate) fn new(gpu: &'static Gpu, bytes: usize) -> Result<Arc<Self>, Error> {
        let _current = gpu.enter()?;
        // SAFETY: the memory holds bytes, and its callers write them before they hand it out.
        let allocated = gpu.check("cuMemAlloc", unsafe { result::malloc_sync(bytes.max(1)) });
        match allocated {
            Ok(address) => Ok(Arc::new(DeviceMemory { gpu, address, bytes, uses: Mutex::default() })),
            Err(failure) if failure.is_out_of_memory() => {
                Err(Error::OutOfMemory { device: gpu.label().to_owned(), bytes })
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// Memory that holds zeros.
    pub(crate) fn zeros(gpu: &'static Gpu, bytes: usize) -> Result<Arc<Self>, Error> {
        let memory = Self::new(gpu, bytes)?;
        memory.set_zero()?;
        Ok(memory)
    }

    /// Zeroes all bytes, behind all that was asked for so far.
    pub(crate) fn set_zero(self: &Arc<Self>) -> Result<(), Error> {
        let stream = self.gpu.own_stream()?;
        ordered(stream, [(Arc::clone(self), Access::Write)], || {
            let _current = self.gpu.enter()?;
            // SAFETY: the memory has that many bytes, and the stream is ordered with all its uses.
            let set = unsafe { result::memset_d8_async(self.address, 0, self.bytes, stream.raw()) };
            Ok(self.gpu.check("cuMemsetD8Async", set)?)
        })
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Overwrites elements from the start, and waits for it.
    pub(crate) fn write<T: Element>(self: &Arc<Self>, elements: &[T]) -> Result<(), Error> {
        let stream = self.gpu.own_stream()?;
        let elements = &elements[..elements.len().min(self.bytes / size_of::<T>())];
        ordered(stream, [(Arc::clone(self), Access::Write)], || {
            let _current = self.gpu.enter()?;
            // SAFETY: the memory has room for the elements, the stream is ordered with all its uses, and the elements
            // live until the copy is done.
            let copied = unsafe { result::memcpy_htod_async(self.address, elements, stream.raw()) };
            let copied = self.gpu.check("cuMemcpyHtoDAsync", copied);
            // Waits even after a failure: the copy may have been asked for.
            stream.drain()?;
            Ok(copied?)
        })
    }

    /// A copy of the same size, behind all that was asked for so far.
    pub(crate) fn duplicate(self: &Arc<Self>) -> Result<Arc<Self>, Error> {
        let copy = Self::new(self.gpu, self.bytes)?;
        let stream = self.gpu.own_stream()?;
        let used = [(Arc::clone(self), Access::Read), (Arc::clone(&copy), Access::Write)];
        ordered(stream, used, || {
            let _current = self.gpu.enter()?;
            // SAFETY: both have that many bytes, do not overlap, and the stream is ordered with all their uses.
            let copied = unsafe { result::memcpy_dtod_async(copy.address, self.address, self.bytes, stream.raw()) };
            Ok(self.gpu.check("cuMemcpyDtoDAsync", copied)?)
        })?;
        Ok(copy)
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        let uses = self.uses.get_mut().unwrap_or_else(PoisonError::into_inner);
        for Mark { stream, event } in uses.readers.iter().chain(&uses.writer) {
            // After a fault nothing runs any more; there is nothing to wait for then.
            _ = match event {
                Some(event) => event.synchronize(),
                None => stream.synchronize(),
            };
        }
        let Ok(_current) = self.gpu.enter() else { return };
        // SAFETY: the address is that of an allocation which nothing uses any more: all uses were just waited for, and
        // a graph that would use it again keeps it alive.
        if let Err(failure) = self.gpu.check("cuMemFree", unsafe { result::free_sync(self.address) }) {
            tracing::debug!(target: "cuda", %failure);
        }
    }
}

/// Asks `stream` for `work` behind the earlier uses of what it uses, and remembers that it does.
pub(super) fn ordered(
    stream: &Stream,
    used: impl IntoIterator<Item = Used>,
    work: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    // Launches have up to six tensors, and no allocation.
    let mut owned: [Option<Used>; 6] = [const { None }; 6];
    let mut more = Vec::new();
    let mut used = used.into_iter().filter_map(|used| stream.note_captured(used));
    for (slot, used) in owned.iter_mut().zip(&mut used) {
        *slot = Some(used);
    }
    more.extend(used);
    let owned = || owned.iter().flatten().chain(&more);
    if owned().next().is_none() {
        return work();
    }
    if stream.is_foreign() && stream.is_capturing()? {
        return Err(Error::ForeignCapture);
    }
    for (memory, access) in owned() {
        let uses = memory.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.hold_back(stream, *access)?;
    }
    work()?;
    let event = if stream.is_foreign() {
        let event = Event::untimed(stream.gpu())?;
        event.record_on(stream)?;
        Some(Arc::new(event))
    } else {
        None
    };
    for (memory, access) in owned() {
        let mut uses = memory.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.note(Mark { stream: stream.clone(), event: event.clone() }, *access);
    }
    Ok(())
}

impl Uses {
    fn hold_back(&self, stream: &Stream, access: Access) -> Result<(), Failure> {
        let own = self.readers.iter().find(|reader| &reader.stream == stream);
        match own {
            // Whoever read since the last write waited for it then.
            Some(Mark { event: None, .. }) if access == Access::Read => return Ok(()),
            // The mark that replaces this one is to stand for both uses.
            Some(reader) => reader.hold_back(stream)?,
            None => {}
        }
        if let Some(writer) = &self.writer {
            writer.hold_back(stream)?;
        }
        if access == Access::Write {
            for reader in &self.readers {
                reader.hold_back(stream)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, mark: Mark, access: Access) {
        match access {
            Access::Write => {
                self.readers.clear();
                self.writer = Some(mark);
            }
            Access::Read => match self.readers.iter_mut().find(|reader| reader.stream == mark.stream) {
                Some(reader) => *reader = mark,
                None => self.readers.push(mark),
            },
        }
    }
}

/// Elements in device memory: of a buffer, or of somebody else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceSlice<'a> {
    pub(crate) address: u64,
    pub(crate) ty: ElementType,
    pub(crate) len: usize,
    /// `None` where the memory is not ours, and its order the caller's business.
    pub(crate) owner: Option<&'a Arc<DeviceMemory>>,
}

impl<'a> DeviceSlice<'a> {
    /// The elements from `start` to before `end`, which must not lie outside.
    pub(crate) fn range(self, start: usize, end: usize) -> Self {
        let offset = start * self.ty.size_bytes();
        DeviceSlice { address: self.address + offset as u64, len: end - start, ..self }
    }

    /// What work uses with it.
    pub(super) fn used(&self, access: Access) -> Option<Used> {
        self.owner.map(|owner| (Arc::clone(owner), access))
    }

    /// What work that reads it uses.
    pub(crate) fn used_to_read(self) -> Option<Used> {
        self.used(Access::Read)
    }

    /// What work that writes it uses.
    pub(crate) fn used_to_write(self) -> Option<Used> {
        self.used(Access::Write)
    }

    /// The elements, copied to the host behind the work that `stream` was asked for.
    pub(crate) fn to_host<T: Element>(self, stream: &Stream) -> Result<Vec<T>, Error> {
        let mut elements = host_elements(stream.gpu(), self.len)?;
        ordered(stream, self.used(Access::Read), || copy_to_host(stream, self.address, &mut elements))?;
        Ok(elements)
    }
}

fn host_elements<T: Element>(gpu: &Gpu, len: usize) -> Result<Vec<T>, Error> {
    let mut elements = Vec::new();
    let bytes = len.saturating_mul(size_of::<T>());
    let refused = |_| Error::OutOfMemory { device: format!("the host, for a copy from {}", gpu.label()), bytes };
    elements.try_reserve_exact(len).map_err(refused)?;
    elements.resize(len, bytemuck::Zeroable::zeroed());
    Ok(elements)
}

/// Copies from the start of `elements`, and waits for it.
fn copy_to_host<T: Element>(stream: &Stream, address: u64, elements: &mut [T]) -> Result<(), Error> {
    let gpu = stream.gpu();
    let _current = gpu.enter()?;
    // SAFETY: the address is that of at least as many elements: a buffer's length is checked, and whoever gave a foreign
    // address promised it. The host's elements live until the copy is done.
    let copied = unsafe { result::memcpy_dtoh_async(elements, address, stream.raw()) };
    let copied = gpu.check("cuMemcpyDtoHAsync", copied);
    // Waits even after a failure: the copy may have been asked for.
    stream.drain()?;
    Ok(copied?)
}
