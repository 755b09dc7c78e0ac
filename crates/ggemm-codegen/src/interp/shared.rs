//! Shared memory of a CTA, and the order of its accesses.
//!
//! Order is kept as vector clocks (Mattern 1989; FastTrack, Flanagan and Freund 2009): every warp counts its own
//! barrier intervals and knows how far it is ordered after each other warp. A piece of 16 bytes remembers who wrote it
//! last and when, and when each warp read it last. Two accesses that no barrier orders are a breach in any schedule.

use super::finding::{FindingKind, Place};

/// Bytes that one access touches: `cp.async`, `ldmatrix` rows and staged stores alike.
pub(super) const PIECE: u32 = 16;

/// One warp's knowledge of all: entry w is the interval of warp w up to which it is ordered after w.
pub(super) type Clock = Vec<u32>;

/// An asynchronous copy's number, unique in its CTA.
pub(super) type CopyId = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
enum LastWrite {
    Never,
    /// By a warp, in its interval.
    At {
        warp: usize,
        interval: u32,
    },
    /// On its way; not known to have landed even if it has.
    InFlight {
        warp: usize,
        copy: CopyId,
    },
}

#[derive(Clone, Debug)]
struct Piece {
    bytes: [u8; PIECE as usize],
    write: LastWrite,
    /// The interval of each warp's last read, counted from 1; 0: none.
    reads: Vec<u32>,
}

pub(super) struct SharedMemory {
    pieces: Vec<Piece>,
}

impl SharedMemory {
    pub(super) fn new(bytes: u32, warps: usize) -> Self {
        let piece = Piece { bytes: [0xff; PIECE as usize], write: LastWrite::Never, reads: vec![0; warps] };
        SharedMemory { pieces: vec![piece; bytes.div_ceil(PIECE) as usize] }
    }

    /// Reads the piece at `address` for `warp`.
    pub(super) fn read(
        &mut self,
        address: u32,
        warp: usize,
        clock: &Clock,
        place: impl Fn() -> Place,
    ) -> Result<[u8; PIECE as usize], FindingKind> {
        let piece = &mut self.pieces[(address / PIECE) as usize];
        match piece.write {
            LastWrite::Never => return Err(FindingKind::UninitializedRead { place: place() }),
            LastWrite::InFlight { warp: writer, .. } if writer == warp => {
                return Err(FindingKind::UseBeforeArrival {
                    place: place(),
                    why: "this warp did not wait for its group",
                });
            }
            LastWrite::InFlight { .. } => {
                let why = "the warp that copies it has not waited for its group";
                return Err(FindingKind::UseBeforeArrival { place: place(), why });
            }
            LastWrite::At { warp: writer, interval } if clock[writer] < interval => {
                return Err(FindingKind::UnorderedRead { place: place(), writer });
            }
            LastWrite::At { .. } => {}
        }
        piece.reads[warp] = clock[warp];
        Ok(piece.bytes)
    }

    /// Checks that `warp` may write the piece at `address` now.
    fn may_write(&self, address: u32, clock: &Clock, place: impl Fn() -> Place) -> Result<(), FindingKind> {
        let piece = &self.pieces[(address / PIECE) as usize];
        if let Some(reader) = (0..piece.reads.len()).find(|r| piece.reads[*r] > clock[*r]) {
            return Err(FindingKind::OverwriteWhileRead { place: place(), reader });
        }
        match piece.write {
            LastWrite::InFlight { warp: writer, .. } => Err(FindingKind::UnorderedWrite { place: place(), writer }),
            LastWrite::At { warp: writer, interval } if clock[writer] < interval => {
                Err(FindingKind::UnorderedWrite { place: place(), writer })
            }
            LastWrite::Never | LastWrite::At { .. } => Ok(()),
        }
    }

    /// Writes the piece at `address` by an ordinary store.
    pub(super) fn write(
        &mut self,
        address: u32,
        bytes: [u8; PIECE as usize],
        warp: usize,
        clock: &Clock,
        place: impl Fn() -> Place,
    ) -> Result<(), FindingKind> {
        self.may_write(address, clock, place)?;
        let piece = &mut self.pieces[(address / PIECE) as usize];
        piece.bytes = bytes;
        piece.write = LastWrite::At { warp, interval: clock[warp] };
        Ok(())
    }

    /// Starts an asynchronous write of the piece: from now on it may change at any moment.
    pub(super) fn begin_copy(
        &mut self,
        address: u32,
        copy: CopyId,
        warp: usize,
        clock: &Clock,
        place: impl Fn() -> Place,
    ) -> Result<(), FindingKind> {
        self.may_write(address, clock, place)?;
        self.pieces[(address / PIECE) as usize].write = LastWrite::InFlight { warp, copy };
        Ok(())
    }

    /// The copied bytes become visible in memory; nobody knows yet.
    pub(super) fn land(&mut self, address: u32, bytes: [u8; PIECE as usize]) {
        self.pieces[(address / PIECE) as usize].bytes = bytes;
    }

    /// The copying warp has waited: the write is now one of its own, in its present interval.
    pub(super) fn end_copy(&mut self, address: u32, copy: CopyId, warp: usize, clock: &Clock) {
        let piece = &mut self.pieces[(address / PIECE) as usize];
        if piece.write == (LastWrite::InFlight { warp, copy }) {
            piece.write = LastWrite::At { warp, interval: clock[warp] };
        }
    }
}
