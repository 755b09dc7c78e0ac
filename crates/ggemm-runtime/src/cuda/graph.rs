//! Captured work that is launched again and again.

use cudarc::driver::{result, sys};

use super::failure::Failure;
use super::gpu::Gpu;
use super::memory::{self, Used};
use super::stream::Stream;
use crate::error::Error;

/// Work that [`Stream::capture`] recorded, launched as a whole.
///
/// It keeps the buffers that the work uses alive; what they hold is read at each launch.
#[derive(Debug)]
pub struct Graph {
    gpu: &'static Gpu,
    executable: sys::CUgraphExec,
    used: Vec<Used>,
}

// SAFETY: an executable graph is a handle that any thread may use, one at a time; launching takes `&mut`.
unsafe impl Send for Graph {}

impl Graph {
    /// Takes over `graph`, which nobody else may use any more.
    pub(super) fn new(gpu: &'static Gpu, graph: sys::CUgraph, used: Vec<Used>) -> Result<Self, Failure> {
        let _current = gpu.enter()?;
        // SAFETY: `cuStreamEndCapture` returned the graph.
        let executable = unsafe { result::graph::instantiate(graph, no_flags()) };
        // SAFETY: as above; the executable does not need it.
        _ = unsafe { result::graph::destroy(graph) };
        let executable = gpu.check("cuGraphInstantiate", executable)?;
        Ok(Graph { gpu, executable, used })
    }

    /// Asks `stream` for the captured work, which then reads what the buffers hold by then.
    ///
    /// # Errors
    /// [`Error::Cuda`] where the driver refuses, [`Error::ForeignCapture`] on a stream that is itself being captured.
    pub fn launch(&mut self, stream: &Stream) -> Result<(), Error> {
        let _current = self.gpu.enter()?;
        // It may use the memory that plans share for copies.
        let _turn = self.gpu.copy_memory().turn();
        memory::ordered(stream, self.used.iter().cloned(), || {
            // SAFETY: both handles are live, and what the graph uses is kept alive by `used`.
            let launched = unsafe { result::graph::launch(self.executable, stream.raw()) };
            Ok(self.gpu.check("cuGraphLaunch", launched)?)
        })
    }
}

/// The enum of flags has no name for none.
fn no_flags() -> sys::CUgraphInstantiate_flags {
    sys::CUgraphInstantiate_flags(0)
}

impl Drop for Graph {
    fn drop(&mut self) {
        let Ok(_current) = self.gpu.enter() else { return };
        // SAFETY: nothing uses the handle after this; the driver lets a running launch finish, and the buffers' own drop
        // waits for it.
        let destroyed = unsafe { result::graph::exec_destroy(self.executable) };
        if let Err(failure) = self.gpu.check("cuGraphExecDestroy", destroyed) {
            tracing::debug!(target: "cuda", %failure);
        }
    }
}
