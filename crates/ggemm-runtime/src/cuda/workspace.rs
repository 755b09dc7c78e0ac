//! Words of device memory that a kernel finds at 0 and leaves at 0, so that a launch clears none.
//!
//! Launches on one stream follow each other, so that they share their words; no two streams do. What is captured may be
//! replayed on any stream, so that a capture has words of its own for each stream that takes part in it, for as long as the
//! process lives: a graph's launches that were captured on one stream follow each other, and a graph does not run beside
//! itself.

use std::collections::HashMap;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use super::capturing::Sequence;
use super::failure::Failure;
use super::gpu::Gpu;
use super::stream::Stream;

/// Bytes of the words of one stream or captured launch: no two lie in one line of L2.
pub(super) const WORDS_BYTES: u64 = 128;
/// How many are allocated at once.
const AT_ONCE: u64 = 1024;

/// The words of a GPU's streams.
#[derive(Debug, Default)]
pub(super) struct Workspaces {
    of_sequences: HashMap<Sequence, u64>,
    /// Words that nobody has: from the first address on, so many bytes.
    free: (u64, u64),
}

impl Workspaces {
    /// The words for a launch on `stream`, or on what it captures.
    pub(super) fn words(&mut self, gpu: &Gpu, stream: &Stream) -> Result<u64, Failure> {
        let sequence = Sequence::of(stream)?;
        if let Some(words) = self.of_sequences.get(&sequence) {
            return Ok(*words);
        }
        let words = self.take(gpu)?;
        self.of_sequences.insert(sequence, words);
        Ok(words)
    }

    /// Sees to it that a launch need not allocate, save after a thousand streams and captures.
    pub(super) fn reserve(&mut self, gpu: &Gpu) -> Result<(), Failure> {
        if self.free.1 == 0 { self.allocate(gpu) } else { Ok(()) }
    }

    fn take(&mut self, gpu: &Gpu) -> Result<u64, Failure> {
        self.reserve(gpu)?;
        let (words, left) = self.free;
        self.free = (words + WORDS_BYTES, left - WORDS_BYTES);
        Ok(words)
    }

    fn allocate(&mut self, gpu: &Gpu) -> Result<(), Failure> {
        let bytes = WORDS_BYTES * AT_ONCE;
        self.free = (allocate(gpu, bytes, bytes)?, bytes);
        Ok(())
    }
}

/// Allocates device memory of which the first bytes are 0. It belongs to no capture that this thread may have begun.
pub(super) fn allocate(gpu: &Gpu, bytes: u64, zeros: u64) -> Result<u64, Failure> {
    let _current = gpu.enter()?;
    let mut mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
    // SAFETY: the mode is a place that the call reads and writes.
    let exchanged = unsafe { sys::cuThreadExchangeStreamCaptureMode(&raw mut mode) };
    gpu.check("cuThreadExchangeStreamCaptureMode", exchanged.result())?;
    let zeros = zeros.min(bytes) as usize;
    // SAFETY: nobody has the memory yet, and whoever asked frees it or never does.
    let allocated = unsafe { result::malloc_sync(bytes as usize) };
    let allocated = allocated.and_then(|address| zero(address, zeros).map(|()| address));
    // SAFETY: as above.
    let restored = unsafe { sys::cuThreadExchangeStreamCaptureMode(&raw mut mode) };
    let address = gpu.check("cuMemAlloc", allocated)?;
    gpu.check("cuThreadExchangeStreamCaptureMode", restored.result())?;
    Ok(address)
}

/// Writes zeros, and waits until they are there. A stream of its own does it: the context cannot be waited for while one of
/// its streams captures.
fn zero(address: u64, bytes: usize) -> Result<(), DriverError> {
    let stream = result::stream::create(result::stream::StreamKind::NonBlocking)?;
    // SAFETY: the allocation has that many bytes, and the stream is live.
    let written = unsafe { result::memset_d8_async(address, 0, bytes, stream) };
    // SAFETY: the stream is live.
    let written = written.and_then(|()| unsafe { result::stream::synchronize(stream) });
    // SAFETY: nothing uses the stream after this.
    let destroyed = unsafe { result::stream::destroy(stream) };
    written.and(destroyed)
}
