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
pub(super) struct SumSlots {
    of_sequences: HashMap<Sequence, Space>,
    /// What a plan had allocated, and no launch has taken.
    spare: Option<Space>,
}

#[derive(Clone, Copy, Debug)]
struct Space {
    address: u64,
    bytes: u64,
}

impl SumSlots {
    /// Sees to it that the first launch on one more stream, or into one more graph, need not allocate.
    pub(super) fn reserve(&mut self, gpu: &Gpu, sums: u64) -> Result<(), Failure> {
        let bytes = READY_BYTES + sums;
        if self.spare.is_some_and(|spare| spare.bytes >= bytes) {
            return Ok(());
        }
        let larger = Space::allocate(gpu, bytes)?;
        match self.spare.replace(larger) {
            Some(smaller) => smaller.free(gpu),
            None => Ok(()),
        }
    }

    /// The address of the words for a launch on `stream`; so many bytes of sums follow, [`READY_BYTES`] on.
    pub(super) fn address(&mut self, gpu: &Gpu, stream: &Stream, sums: u64) -> Result<u64, Failure> {
        let sequence = Sequence::of(stream)?;
        let bytes = READY_BYTES + sums;
        if let Some(space) = self.of_sequences.get(&sequence).filter(|space| space.bytes >= bytes) {
            return Ok(space.address);
        }
        let space = match self.spare.take_if(|spare| spare.bytes >= bytes) {
            Some(spare) => spare,
            None => Space::allocate(gpu, bytes)?,
        };
        match self.of_sequences.insert(sequence, space) {
            // What was captured goes on to use it.
            Some(outgrown) if !sequence.is_captured() => {
                stream.drain()?;
                outgrown.free(gpu)?;
            }
            _ => {}
        }
        Ok(space.address)
    }
}

impl Space {
    fn allocate(gpu: &Gpu, bytes: u64) -> Result<Self, Failure> {
        Ok(Space { address: workspace::allocate(gpu, bytes, READY_BYTES)?, bytes })
    }

    /// Gives back what no launch uses any more.
    fn free(self, gpu: &Gpu) -> Result<(), Failure> {
        let _current = gpu.enter()?;
        // SAFETY: the memory was allocated here, and all launches that had it have ended, if there were any.
        gpu.check("cuMemFree", unsafe { result::free_sync(self.address) })
    }
}
