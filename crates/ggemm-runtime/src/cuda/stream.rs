//! Streams: queues of work of a GPU.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{result, sys};

use super::event::Event;
use super::failure::Failure;
use super::gpu::Gpu;
use super::graph::Graph;
use super::memory::Used;
use crate::device::Device;
use crate::error::Error;

/// A queue of work of a GPU, ggemm's own or another framework's. Cloning is cheap; two clones are one stream.
#[derive(Clone, Debug)]
pub struct Stream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    gpu: &'static Gpu,
    raw: sys::CUstream,
    foreign: bool,
    /// While the stream is captured: what the captured work uses.
    captured: Mutex<Option<Vec<Used>>>,
}

// SAFETY: a stream is a handle that the driver lets any thread use.
unsafe impl Send for Inner {}
// SAFETY: as above; the driver locks it.
unsafe impl Sync for Inner {}

impl Stream {
    /// A stream of ggemm's own, unordered with the driver's default stream.
    ///
    /// # Errors
    /// [`Error::NotAGpu`] for the CPU, [`Error::Cuda`] where the driver refuses.
    pub fn new(device: &Device) -> Result<Self, Error> {
        Ok(Self::create(device.gpu()?)?)
    }

    pub(super) fn create(gpu: &'static Gpu) -> Result<Self, Failure> {
        let _current = gpu.enter()?;
        let raw = gpu.check("cuStreamCreate", result::stream::create(result::stream::StreamKind::NonBlocking))?;
        Ok(Stream(Arc::new(Inner { gpu, raw, foreign: false, captured: Mutex::default() })))
    }

    /// Another framework's stream; null is the driver's default stream.
    ///
    /// # Errors
    /// [`Error::NotAGpu`] for the CPU, [`Error::Cuda`] where the driver refuses.
    ///
    /// # Safety
    /// `raw` is a stream of the GPU's primary context and lives at least as long as every clone of this.
    pub unsafe fn from_raw(device: &Device, raw: sys::CUstream) -> Result<Self, Error> {
        let gpu = device.gpu()?;
        Ok(Stream(Arc::new(Inner { gpu, raw, foreign: true, captured: Mutex::default() })))
    }

    /// The driver's handle. One of ggemm's own streams is live as long as this.
    pub fn raw(&self) -> sys::CUstream {
        self.0.raw
    }

    pub(super) fn gpu(&self) -> &'static Gpu {
        self.0.gpu
    }

    pub(crate) fn device_label(&self) -> &'static str {
        self.0.gpu.label()
    }

    pub(super) fn is_foreign(&self) -> bool {
        self.0.foreign
    }

    /// Waits on the host until the work so far is done.
    ///
    /// # Errors
    /// [`Error::Cuda`]: among others a fault of a kernel.
    pub fn synchronize(&self) -> Result<(), Error> {
        Ok(self.drain()?)
    }

    pub(super) fn drain(&self) -> Result<(), Failure> {
        let gpu = self.gpu();
        let _current = gpu.enter()?;
        // SAFETY: the handle is live: see `from_raw`, and `Drop` for our own.
        gpu.check("cuStreamSynchronize", unsafe { result::stream::synchronize(self.raw()) })
    }

    /// Makes the work that is asked for from now on wait for `event`.
    ///
    /// # Errors
    /// [`Error::Cuda`] where the driver refuses.
    pub fn wait(&self, event: &Event) -> Result<(), Error> {
        Ok(self.wait_for(event)?)
    }

    pub(super) fn wait_for(&self, event: &Event) -> Result<(), Failure> {
        let gpu = self.gpu();
        let _current = gpu.enter()?;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: both handles are live.
        gpu.check("cuStreamWaitEvent", unsafe { result::stream::wait_event(self.raw(), event.raw(), flags) })
    }

    /// Records what `work` asks of this stream into a graph instead of doing it.
    ///
    /// The graph keeps the buffers alive that it uses, and reads groups and values anew at each launch. `work` must not
    /// make or drop buffers, copy to or from them, plan, or run checked plans; the driver refuses most of it. Plan and
    /// run once before the capture, so that kernels are loaded.
    ///
    /// # Errors
    /// What `work` returns, [`Error::ForeignCapture`] for another framework's stream (capture there, with that framework,
    /// what [`Plan::run_on`](crate::Plan::run_on) asks of it), [`Error::Cuda`] where the driver refuses.
    pub fn capture(&self, work: impl FnOnce(&Stream) -> Result<(), Error>) -> Result<Graph, Error> {
        if self.is_foreign() {
            return Err(Error::ForeignCapture);
        }
        // What other streams might wait for is done: no event can be recorded here for them during the capture.
        self.drain()?;
        let capture = Capture::begin(self)?;
        // Of two errors the work's own says more; the capture then ends, and its graph goes, where it is dropped.
        work(self)?;
        let (graph, used) = capture.end()?;
        Ok(Graph::new(self.gpu(), graph, used)?)
    }

    /// Whether [`Stream::capture`] is under way.
    pub(super) fn is_captured(&self) -> bool {
        self.0.captured.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether work asked of the stream goes into a graph, ours or another framework's.
    pub(super) fn is_capturing(&self) -> Result<bool, Failure> {
        let gpu = self.gpu();
        let _current = gpu.enter()?;
        // SAFETY: the handle is live.
        let status = gpu.check("cuStreamIsCapturing", unsafe { result::stream::is_capturing(self.raw()) })?;
        Ok(status != sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE)
    }

    /// The number that the driver gives the stream, which it gives no other.
    pub(super) fn id(&self) -> Result<u64, Failure> {
        let gpu = self.gpu();
        let mut id = 0;
        let _current = gpu.enter()?;
        // SAFETY: the handle is live.
        gpu.check("cuStreamGetId", unsafe { sys::cuStreamGetId(self.raw(), &raw mut id) }.result())?;
        Ok(id)
    }

    /// Takes note of what captured work uses; gives it back where no capture is under way.
    pub(super) fn note_captured(&self, used: Used) -> Option<Used> {
        match self.0.captured.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(captured) => {
                captured.push(used);
                None
            }
            None => Some(used),
        }
    }
}

/// Two clones are equal, and so are two wraps of one foreign stream.
impl PartialEq for Stream {
    fn eq(&self, other: &Self) -> bool {
        self.raw() == other.raw() && std::ptr::eq(self.gpu(), other.gpu())
    }
}

impl Eq for Stream {}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.foreign {
            return;
        }
        let Ok(_current) = self.gpu.enter() else { return };
        // SAFETY: the stream is ours and this was the last holder; the driver lets pending work finish.
        if let Err(failure) = self.gpu.check("cuStreamDestroy", unsafe { result::stream::destroy(self.raw) }) {
            tracing::debug!(target: "cuda", %failure);
        }
    }
}

/// A capture under way. It ends even when the work fails or panics.
struct Capture<'a> {
    stream: &'a Stream,
    ended: bool,
}

impl<'a> Capture<'a> {
    fn begin(stream: &'a Stream) -> Result<Self, Failure> {
        let gpu = stream.gpu();
        let _current = gpu.enter()?;
        // Other threads go on as they like.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the handle is live.
        gpu.check("cuStreamBeginCapture", unsafe { result::stream::begin_capture(stream.raw(), mode) })?;
        *stream.0.captured.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
        Ok(Capture { stream, ended: false })
    }

    fn end(mut self) -> Result<(sys::CUgraph, Vec<Used>), Failure> {
        self.ended = true;
        self.stop()
    }

    fn stop(&self) -> Result<(sys::CUgraph, Vec<Used>), Failure> {
        let used = self.stream.0.captured.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gpu = self.stream.gpu();
        let _current = gpu.enter()?;
        // SAFETY: the handle is live, and `begin` began the capture.
        let graph = gpu.check("cuStreamEndCapture", unsafe { result::stream::end_capture(self.stream.raw()) })?;
        Ok((graph, used.unwrap_or_default()))
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Ok((graph, _)) = self.stop() {
            // SAFETY: the graph was just made and nobody else has it.
            _ = unsafe { result::graph::destroy(graph) };
        }
    }
}
