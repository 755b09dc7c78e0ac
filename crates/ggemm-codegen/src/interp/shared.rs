//! Shared memory of a CTA, and the order of its accesses.
//!
//! A piece of 16 bytes remembers who wrote it last and when, through which proxy, when each warp read it last, and
//! what is reading it behind the warps' backs. Two accesses that no [knowledge](super::knowledge) orders are a breach
//! in any schedule.

use super::finding::{FindingKind, Place};
use super::knowledge::Knowledge;

/// Bytes that one access touches: `cp.async`, `ldmatrix` rows, staged stores and swizzled boxes alike.
pub(super) const PIECE: u32 = 16;

/// An asynchronous operation's number, unique in the launch.
pub(super) type OperationId = u64;

/// The bytes of a piece.
pub(super) type Bytes = [u8; PIECE as usize];

#[derive(Clone, Debug, PartialEq, Eq)]
enum LastWrite {
    Never,
    /// By a participant, in its interval; `ordinary`: through the generic proxy.
    At {
        writer: usize,
        interval: u32,
        ordinary: bool,
    },
    /// On its way; not known to have landed even if it has.
    InFlight {
        writer: usize,
        operation: OperationId,
    },
}

#[derive(Clone, Debug)]
struct Piece {
    bytes: Bytes,
    write: LastWrite,
    /// Operations that are reading it, and what the first of them is.
    readers: (u32, &'static str),
}

pub(super) struct SharedMemory {
    pieces: Vec<Piece>,
    /// The interval of each warp's last read of each piece, counted from 1; 0: none.
    reads: Vec<u32>,
    /// Warps of the CTA.
    warps: usize,
    /// The participant that the CTA's first warp is.
    first_warp: usize,
    /// Participants from here on are no warps.
    warps_end: usize,
}

impl SharedMemory {
    pub(super) fn new(bytes: u32, warps: usize, rank: usize, warps_of_cluster: usize) -> Self {
        let piece = Piece { bytes: [0xff; PIECE as usize], write: LastWrite::Never, readers: (0, "") };
        let pieces = vec![piece; bytes.div_ceil(PIECE) as usize];
        SharedMemory {
            reads: vec![0; pieces.len() * warps],
            warps,
            pieces,
            first_warp: rank * warps,
            warps_end: warps_of_cluster,
        }
    }

    /// Checks that what `warp` knows lets it read a piece.
    fn may_read(
        &self,
        piece: &Piece,
        warp: usize,
        known: &Knowledge,
        place: &impl Fn() -> Place,
    ) -> Result<(), FindingKind> {
        match piece.write {
            LastWrite::Never => Err(FindingKind::UninitializedRead { place: place() }),
            LastWrite::InFlight { writer, .. } => {
                let why = if writer == self.first_warp + warp {
                    "this warp did not wait for its group"
                } else if writer < self.warps_end {
                    "the warp that copies it has not waited for its group"
                } else {
                    "it is on its way, and this warp did not wait for the barrier that counts it"
                };
                Err(FindingKind::UseBeforeArrival { place: place(), why })
            }
            LastWrite::At { writer, interval, .. } if known.clock[writer] < interval => {
                if writer < self.warps_end {
                    return Err(FindingKind::UnorderedRead { place: place(), writer });
                }
                let why = "this warp did not wait for the barrier that counts it";
                Err(FindingKind::UseBeforeArrival { place: place(), why })
            }
            LastWrite::At { .. } => Ok(()),
        }
    }

    /// The interval of each warp's last read of the piece at `address`.
    fn reads(&mut self, address: u32) -> &mut [u32] {
        &mut self.reads[(address / PIECE) as usize * self.warps..][..self.warps]
    }

    /// Reads the piece at `address` for `warp`.
    pub(super) fn read(
        &mut self,
        address: u32,
        warp: usize,
        known: &Knowledge,
        place: impl Fn() -> Place,
    ) -> Result<Bytes, FindingKind> {
        self.may_read(&self.pieces[(address / PIECE) as usize], warp, known, &place)?;
        self.reads(address)[warp] = known.clock[self.first_warp + warp];
        Ok(self.bytes(address))
    }

    /// Starts an asynchronous read of the piece, issued by `warp`: until it ends, it may happen at any moment.
    pub(super) fn begin_read(
        &mut self,
        address: u32,
        warp: usize,
        known: &Knowledge,
        name: &'static str,
        place: impl Fn() -> Place,
    ) -> Result<(), FindingKind> {
        let piece = &self.pieces[(address / PIECE) as usize];
        self.may_read(piece, warp, known, &place)?;
        check_proxy(piece, known, name, &place)?;
        let (count, first) = &mut self.pieces[(address / PIECE) as usize].readers;
        if *count == 0 {
            *first = name;
        }
        *count += 1;
        Ok(())
    }

    /// The bytes as they are.
    pub(super) fn bytes(&self, address: u32) -> Bytes {
        self.pieces[(address / PIECE) as usize].bytes
    }

    /// The issuing warp has waited: the read is now one of its own, in its present interval.
    pub(super) fn end_read(&mut self, address: u32, warp: usize, known: &Knowledge) {
        self.reads(address)[warp] = known.clock[self.first_warp + warp];
        let (count, _) = &mut self.pieces[(address / PIECE) as usize].readers;
        *count -= 1;
    }

    /// Checks that whoever knows `known` may write the piece at `address` now.
    fn may_write(&self, address: u32, known: &Knowledge, place: impl Fn() -> Place) -> Result<(), FindingKind> {
        let piece = &self.pieces[(address / PIECE) as usize];
        let reads = &self.reads[(address / PIECE) as usize * self.warps..][..self.warps];
        if let Some(reader) = reads.iter().zip(&known.clock[self.first_warp..]).position(|(read, known)| read > known) {
            return Err(FindingKind::OverwriteWhileRead { place: place(), reader });
        }
        if let (1.., operation) = piece.readers {
            return Err(FindingKind::OverwriteInFlight { place: place(), operation });
        }
        match piece.write {
            LastWrite::InFlight { writer, .. } => Err(FindingKind::UnorderedWrite { place: place(), writer }),
            LastWrite::At { writer, interval, .. } if known.clock[writer] < interval => {
                Err(FindingKind::UnorderedWrite { place: place(), writer })
            }
            LastWrite::Never | LastWrite::At { .. } => Ok(()),
        }
    }

    /// Writes the piece at `address` by an ordinary store.
    pub(super) fn write(
        &mut self,
        address: u32,
        bytes: Bytes,
        warp: usize,
        known: &Knowledge,
        place: impl Fn() -> Place,
    ) -> Result<(), FindingKind> {
        self.write_from(address, bytes, self.first_warp + warp, known, place)
    }

    /// The same by a warp of any CTA of the cluster, known by the participant that it is.
    pub(super) fn write_from(
        &mut self,
        address: u32,
        bytes: Bytes,
        writer: usize,
        known: &Knowledge,
        place: impl Fn() -> Place,
    ) -> Result<(), FindingKind> {
        self.may_write(address, known, place)?;
        let piece = &mut self.pieces[(address / PIECE) as usize];
        piece.bytes = bytes;
        piece.write = LastWrite::At { writer, interval: known.clock[writer], ordinary: true };
        Ok(())
    }

    /// Starts an asynchronous write of the piece: from now on it may change at any moment. `writer` is the warp or
    /// the barrier that completion will be learned from; what goes past the generic proxy has a name.
    pub(super) fn begin_copy(
        &mut self,
        address: u32,
        (operation, past_generic): (OperationId, Option<&'static str>),
        writer: usize,
        known: &Knowledge,
        place: impl Fn() -> Place,
    ) -> Result<(), FindingKind> {
        self.may_write(address, known, &place)?;
        let piece = &mut self.pieces[(address / PIECE) as usize];
        if let Some(name) = past_generic {
            check_proxy(piece, known, name, &place)?;
        }
        piece.write = LastWrite::InFlight { writer, operation };
        Ok(())
    }

    /// The copied bytes become visible in memory; nobody knows yet.
    pub(super) fn land(&mut self, address: u32, bytes: Bytes) {
        self.pieces[(address / PIECE) as usize].bytes = bytes;
    }

    /// The copied bytes become visible in memory and count on a barrier, whose phase `interval` will tell of them.
    pub(super) fn land_on_barrier(&mut self, address: u32, bytes: Bytes, writer: usize, interval: u32, ordinary: bool) {
        let piece = &mut self.pieces[(address / PIECE) as usize];
        piece.bytes = bytes;
        piece.write = LastWrite::At { writer, interval, ordinary };
    }

    /// The copying warp has waited: the write is now one of its own, in its present interval.
    pub(super) fn end_copy(&mut self, address: u32, operation: OperationId, warp: usize, known: &Knowledge) {
        let writer = self.first_warp + warp;
        let piece = &mut self.pieces[(address / PIECE) as usize];
        if piece.write == (LastWrite::InFlight { writer, operation }) {
            piece.write = LastWrite::At { writer, interval: known.clock[writer], ordinary: true };
        }
    }
}

/// What the async proxy touches, no ordinary store may have written without a fence since.
fn check_proxy(
    piece: &Piece,
    known: &Knowledge,
    operation: &'static str,
    place: &impl Fn() -> Place,
) -> Result<(), FindingKind> {
    match piece.write {
        LastWrite::At { writer, interval, ordinary: true } if known.fenced[writer] < interval => {
            Err(FindingKind::MissingProxyFence { place: place(), writer, operation })
        }
        _ => Ok(()),
    }
}
