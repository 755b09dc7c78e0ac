//! What the interpreter reports: the breach, the statement, and what led to it.

use std::fmt;

use super::schedule::Settings;
use crate::ir::{Location, StmtId};

/// A breach of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FindingKind {
    /// Shared memory is read whose asynchronous copy is not known to have landed.
    #[error("reads {place} before its copy is known to have arrived: {why}")]
    UseBeforeArrival {
        /// What is read.
        place: Place,
        /// The wait or barrier that is missing.
        why: &'static str,
    },
    /// Shared memory is read that another warp wrote without a barrier in between.
    #[error("reads {place}, which warp {writer} wrote without a barrier in between")]
    UnorderedRead {
        /// What is read.
        place: Place,
        /// Who wrote it.
        writer: usize,
    },
    /// Shared memory is written while another warp may still read it.
    #[error("writes {place} while warp {reader} may still be reading it: no barrier in between")]
    OverwriteWhileRead {
        /// What is written.
        place: Place,
        /// Who read it last.
        reader: usize,
    },
    /// Shared memory is written while another write may still be under way.
    #[error("writes {place} while the write by warp {writer} may still be under way")]
    UnorderedWrite {
        /// What is written.
        place: Place,
        /// Who wrote it.
        writer: usize,
    },
    /// Shared memory is read that nobody wrote.
    #[error("reads {place}, which nobody wrote")]
    UninitializedRead {
        /// What is read.
        place: Place,
    },
    /// A register fragment is used that nothing filled.
    #[error("uses the fragment {fragment} before anything filled it")]
    UninitializedFragment {
        /// Its name.
        fragment: String,
    },
    /// A tile slot that does not exist.
    #[error("slot {slot} of {tile}, which has {slots}")]
    NoSuchSlot {
        /// The tiles.
        tile: String,
        /// The slot asked for.
        slot: i64,
        /// How many there are.
        slots: u32,
    },
    /// A set of registers that does not exist.
    #[error("set {set} of the fragment {fragment}, which has {sets}")]
    NoSuchRegisters {
        /// The fragment's name.
        fragment: String,
        /// The set asked for.
        set: i64,
        /// How many there are.
        sets: usize,
    },
    /// A matrix is read past the rows or columns of its tile.
    #[error("reads step {step} of {tile}, which ends before it")]
    OutsideTile {
        /// The tiles.
        tile: String,
        /// The step asked for.
        step: i64,
    },
    /// Device memory is touched by a wide access that is not aligned to its width.
    #[error("{access} element {index} of {operand} in a piece of {elements}, which is not aligned")]
    Misaligned {
        /// `reads` or `writes`.
        access: &'static str,
        /// The parameter's name.
        operand: String,
        /// The piece's first element.
        index: i64,
        /// Elements of the piece.
        elements: usize,
    },
    /// An index array is read as if its entries had another width.
    #[error("reads {operand} as {read}")]
    WrongWidth {
        /// The parameter's name.
        operand: String,
        /// The type it was read as.
        read: &'static str,
    },
    /// Device memory is touched outside an operand.
    #[error("{access} element {index} of {operand}, which has {len}")]
    OutOfBounds {
        /// `reads` or `writes`.
        access: &'static str,
        /// The parameter's name.
        operand: String,
        /// The element.
        index: i64,
        /// Elements there are.
        len: usize,
    },
    /// An output element is written by two tiles.
    #[error("writes element {index} of {operand} a second time")]
    WrittenTwice {
        /// The parameter's name.
        operand: String,
        /// The element.
        index: i64,
    },
    /// No warp can go on.
    #[error("deadlock: {waiting}")]
    Deadlock {
        /// Who waits for what.
        waiting: String,
    },
    /// Copies are still on their way when the kernel ends, or were never committed to a group.
    #[error("ends with {pieces} pieces of its copies never waited for")]
    LeftInFlight {
        /// How many.
        pieces: usize,
    },
    /// Warps of a CTA computed different values of what they are said to agree on.
    #[error("computes {value} where another warp of the CTA computed {other}: they are said to agree")]
    Disagreement {
        /// This warp's value.
        value: i64,
        /// The other's.
        other: i64,
    },
    /// An integer does not fit its type.
    #[error("computes {value}, which does not fit {ty}")]
    Overflow {
        /// The value.
        value: i64,
        /// The type.
        ty: &'static str,
    },
    /// A quotient or remainder of a negative number or by zero, or the first lane of an empty mask.
    #[error("{operation} is not defined for these operands")]
    Undefined {
        /// The operation.
        operation: &'static str,
    },
    /// More statements than any terminating run would take.
    #[error("does not come to an end within {limit} statements")]
    Endless {
        /// The limit.
        limit: u64,
    },
}

impl FindingKind {
    /// A short name for tables.
    pub const fn name(&self) -> &'static str {
        match self {
            FindingKind::UseBeforeArrival { .. } => "use before arrival",
            FindingKind::UnorderedRead { .. } => "unordered read",
            FindingKind::OverwriteWhileRead { .. } => "overwrite while read",
            FindingKind::UnorderedWrite { .. } => "unordered write",
            FindingKind::UninitializedRead { .. } => "uninitialized read",
            FindingKind::UninitializedFragment { .. } => "uninitialized fragment",
            FindingKind::NoSuchSlot { .. } => "no such slot",
            FindingKind::NoSuchRegisters { .. } => "no such registers",
            FindingKind::OutsideTile { .. } => "outside the tile",
            FindingKind::Misaligned { .. } => "misaligned",
            FindingKind::WrongWidth { .. } => "wrong width",
            FindingKind::OutOfBounds { .. } => "out of bounds",
            FindingKind::WrittenTwice { .. } => "written twice",
            FindingKind::Deadlock { .. } => "deadlock",
            FindingKind::LeftInFlight { .. } => "left in flight",
            FindingKind::Disagreement { .. } => "disagreement",
            FindingKind::Overflow { .. } => "overflow",
            FindingKind::Undefined { .. } => "undefined",
            FindingKind::Endless { .. } => "endless",
        }
    }
}

/// A 16-byte piece of a shared tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The tiles' name.
    pub tile: String,
    /// Which of them.
    pub slot: u32,
    /// The piece's byte offset in the tile.
    pub offset: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] at byte {}", self.tile, self.slot, self.offset)
    }
}

/// Something that a warp did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The CTA.
    pub cta: usize,
    /// The warp of the CTA.
    pub warp: usize,
    /// The statement.
    pub stmt: StmtId,
    /// The statement's name, and the slot it touched where it has one.
    pub what: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CTA {} warp {}: #{} {}", self.cta, self.warp, self.stmt.0, self.what)
    }
}

/// A breach, where it happened, and how to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The breach.
    pub kind: FindingKind,
    /// The kernel's name.
    pub kernel: String,
    /// The CTA.
    pub cta: usize,
    /// The warp of the CTA.
    pub warp: usize,
    /// The statement that did it.
    pub stmt: StmtId,
    /// What that statement is.
    pub statement: &'static str,
    /// The Rust line that wrote it.
    pub location: Location,
    /// Its first and last line in the emitted CUDA.
    pub lines: Option<(u32, u32)>,
    /// The schedule; the same settings replay the run.
    pub settings: Settings,
    /// The last things that happened in this CTA, oldest first.
    pub history: Vec<Event>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.kernel)?;
        writeln!(
            f,
            "  CTA {} warp {}, statement #{} ({}): {}",
            self.cta, self.warp, self.stmt.0, self.statement, self.kind
        )?;
        write!(f, "  written at {}:{}", self.location.file, self.location.line)?;
        if let Some((first, last)) = self.lines {
            write!(f, ", lines {first}-{last} of the CUDA text")?;
        }
        writeln!(f, "\n  replay with {}", self.settings)?;
        for event in &self.history {
            writeln!(f, "    {event}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Finding {}
