//! Device memory in which the CTAs of a launch leave sums of parts of tiles for each other, and the words that say which
//! are there: a kernel finds those at 0 and leaves them at 0, so that a launch clears none.
//!
//! Launches on one stream follow each other, so that they share their memory; no two streams do. A captured graph may be
//! replayed on any stream: what is captured on one stream into one graph, and so follows each other there, shares memory
//! that no other launch has, for as long as the process lives. It is some megabytes, of which a CTA has what a tile's sums
//! take.

use std::collections::HashMap;

use cudarc::driver::result;

use super::capturing::Sequence;
use super::failure::Failure;
use super::gpu::Gpu;
use super::stream::Stream;
use super::workspace;

/// Bytes of the words of all CTAs of a launch, which come first: as many for all, so that no launch's sums lie where
/// another's words do.
pub(super) const READY_BYTES: u64 = 16 << 10;

/// The memory of a GPU's streams and captures.
#[derive(Debug, Default)]
pub(super) struct SumSlots(HashMap<Sequence, Space>);

#[derive(Clone, Copy, Debug)]
struct Space {
    address: u64,
    bytes: u64,
}

impl SumSlots {
    /// The address of the words for a launch on `stream`; so many bytes of sums follow, [`READY_BYTES`] on.
    pub(super) fn address(&mut self, gpu: &Gpu, stream: &Stream, sums: u64) -> Result<u64, Failure> {
        let sequence = Sequence::of(stream)?;
        let bytes = READY_BYTES + sums;
        let outgrown = match self.0.get(&sequence) {
            Some(space) if space.bytes >= bytes => return Ok(space.address),
            outgrown => outgrown.copied(),
        };
        let address = workspace::allocate(gpu, bytes, READY_BYTES)?;
        self.0.insert(sequence, Space { address, bytes });
        match outgrown {
            // What was captured goes on to use it.
            Some(space) if !sequence.is_captured() => {
                stream.drain()?;
                let _current = gpu.enter()?;
                // SAFETY: the memory was allocated here, and only launches on this stream used it, which have ended.
                gpu.check("cuMemFree", unsafe { result::free_sync(space.address) })?;
            }
            _ => {}
        }
        Ok(address)
    }
}
