//! Words of device memory that a kernel finds at 0 and leaves at 0, so that a launch clears none.
//!
//! Launches on one stream follow each other, so that they share their words; no two streams do. What is captured may be
//! replayed on any stream, so that each captured launch has words of its own, for as long as the process lives.

use std::collections::HashMap;

use cudarc::driver::{result, sys};

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
    /// By the number that the driver gives a stream, which it gives no other.
    of_streams: HashMap<u64, u64>,
    /// Words that nobody has: from the first address on, so many bytes.
    free: (u64, u64),
}

impl Workspaces {
    /// The words for a launch on `stream`. Where it is captured, they are nobody else's.
    pub(super) fn words(&mut self, gpu: &Gpu, stream: &Stream) -> Result<u64, Failure> {
        if stream.is_capturing()? {
            return self.take(gpu);
        }
        let id = stream.id()?;
        if let Some(words) = self.of_streams.get(&id) {
            return Ok(*words);
        }
        let words = self.take(gpu)?;
        self.of_streams.insert(id, words);
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
    // SAFETY: the memory is zeroed where it must be before anyone has it, and whoever asked frees it or never does.
    let allocated = unsafe { result::malloc_sync(bytes as usize) }.and_then(|address| {
        // SAFETY: the allocation has at least that many bytes; the call is done when it returns.
        unsafe { sys::cuMemsetD8_v2(address, 0, zeros.min(bytes) as usize) }.result()?;
        // The driver may return before the device has written zeros, and streams of others do not wait for it.
        result::ctx::synchronize().map(|()| address)
    });
    // SAFETY: as above.
    let restored = unsafe { sys::cuThreadExchangeStreamCaptureMode(&raw mut mode) };
    let address = gpu.check("cuMemAlloc", allocated)?;
    gpu.check("cuThreadExchangeStreamCaptureMode", restored.result())?;
    Ok(address)
}
