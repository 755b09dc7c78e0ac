//! Points in a stream's work.

use std::time::Duration;

use cudarc::driver::{result, sys};

use super::failure::Failure;
use super::gpu::Gpu;
use super::stream::Stream;
use crate::device::Device;
use crate::error::Error;

/// A point in a stream's work, for other streams to wait for and for timing.
///
/// ```no_run
/// use ggemm_runtime::cuda::{Event, Stream};
/// # fn launch(_: &Stream) -> Result<(), ggemm_runtime::Error> { Ok(()) }
/// let device = ggemm_runtime::Device::probe()?;
/// let stream = Stream::new(&device)?;
/// let (start, end) = (Event::new(&device)?, Event::new(&device)?);
/// start.record(&stream)?;
/// launch(&stream)?;
/// end.record(&stream)?;
/// println!("{:?}", end.elapsed_since(&start)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Event {
    gpu: &'static Gpu,
    raw: sys::CUevent,
    foreign: bool,
}

// SAFETY: an event is a handle that the driver lets any thread use.
unsafe impl Send for Event {}
// SAFETY: as above; the driver locks it.
unsafe impl Sync for Event {}

impl Event {
    /// An event of a GPU, with timing.
    ///
    /// # Errors
    /// [`Error::NotAGpu`] for the CPU, [`Error::Cuda`] where the driver refuses.
    pub fn new(device: &Device) -> Result<Self, Error> {
        Ok(Self::create(device.gpu()?, sys::CUevent_flags::CU_EVENT_DEFAULT)?)
    }

    /// An event that is only waited for.
    pub(super) fn untimed(gpu: &'static Gpu) -> Result<Self, Failure> {
        Self::create(gpu, sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)
    }

    fn create(gpu: &'static Gpu, flags: sys::CUevent_flags) -> Result<Self, Failure> {
        let _current = gpu.enter()?;
        let raw = gpu.check("cuEventCreate", result::event::create(flags))?;
        Ok(Event { gpu, raw, foreign: false })
    }

    /// Another framework's event, which stays that framework's to destroy.
    ///
    /// # Errors
    /// [`Error::NotAGpu`] for the CPU, [`Error::Cuda`] where the driver refuses.
    ///
    /// # Safety
    /// `raw` is an event of the GPU's primary context and lives at least as long as this.
    pub unsafe fn from_raw(device: &Device, raw: sys::CUevent) -> Result<Self, Error> {
        Ok(Event { gpu: device.gpu()?, raw, foreign: true })
    }

    /// Moves the event to behind all that `stream` was asked for so far.
    ///
    /// # Errors
    /// [`Error::Cuda`] where the driver refuses: a stream of another GPU, a fault of a kernel before.
    pub fn record(&self, stream: &Stream) -> Result<(), Error> {
        Ok(self.record_on(stream)?)
    }

    pub(super) fn record_on(&self, stream: &Stream) -> Result<(), Failure> {
        let _current = self.gpu.enter()?;
        // SAFETY: both handles are live: ours until what holds it is dropped, another framework's by `from_raw`.
        self.gpu.check("cuEventRecord", unsafe { result::event::record(self.raw, stream.raw()) })
    }

    /// Waits on the host until the work before the event is done.
    ///
    /// # Errors
    /// [`Error::Cuda`]: among others a fault of a kernel before the event.
    pub fn synchronize(&self) -> Result<(), Error> {
        let _current = self.gpu.enter()?;
        // SAFETY: the handle is live.
        Ok(self.gpu.check("cuEventSynchronize", unsafe { result::event::synchronize(self.raw) })?)
    }

    /// The GPU's time between two events, to about half a microsecond. Waits for this one.
    ///
    /// # Errors
    /// [`Error::Cuda`]: an event that was never recorded, or a fault of a kernel before.
    pub fn elapsed_since(&self, start: &Event) -> Result<Duration, Error> {
        self.synchronize()?;
        let _current = self.gpu.enter()?;
        // SAFETY: both handles are live.
        let milliseconds = unsafe { result::event::elapsed(start.raw, self.raw) };
        let milliseconds = self.gpu.check("cuEventElapsedTime", milliseconds)?;
        Ok(Duration::try_from_secs_f64(f64::from(milliseconds) / 1e3).unwrap_or_default())
    }

    /// The driver's handle. That of ggemm's own event is live as long as this.
    pub fn raw(&self) -> sys::CUevent {
        self.raw
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.foreign {
            return;
        }
        let Ok(_current) = self.gpu.enter() else { return };
        // SAFETY: nothing uses the handle after this; the driver defers the destruction of a pending event.
        if let Err(failure) = self.gpu.check("cuEventDestroy", unsafe { result::event::destroy(self.raw) }) {
            tracing::debug!(target: "cuda", %failure);
        }
    }
}
