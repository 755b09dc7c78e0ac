//! What the interpreter reports: the breach, the statement, and what led to it.

use std::fmt;

use super::schedule::Settings;
use crate::ir::{Location, StmtId, Unaddressable};

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
    /// A box of the copy engine begins in the midst of 16 bytes, which is an illegal instruction.
    #[error("a box of {operand} begins at element {column} of its rows, which is no multiple of 16 bytes")]
    UnalignedBox {
        /// The parameter's name.
        operand: String,
        /// The coordinate along its rows.
        column: i64,
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
    /// Shared memory is written while an asynchronous operation may still read it.
    #[error("writes {place} while {operation} may still be reading it: nobody has waited for it")]
    OverwriteInFlight {
        /// What is written.
        place: Place,
        /// What reads it.
        operation: &'static str,
    },
    /// An ordinary write is not fenced before the async proxy touches the same bytes.
    #[error("{operation} touches {place}, which warp {writer} wrote by ordinary stores without a proxy fence since")]
    MissingProxyFence {
        /// What is touched.
        place: Place,
        /// The warp that wrote it, counted through the cluster.
        writer: usize,
        /// What touches it.
        operation: &'static str,
    },
    /// A barrier is used that is not known to be initialized.
    #[error("uses {at}, but {why}")]
    BarrierNotReady {
        /// The barrier.
        at: BarrierPlace,
        /// What is missing.
        why: &'static str,
    },
    /// The bytes that loads bring to a phase are not those that it expects.
    #[error("{at} gets {excess} bytes more than it expects (less, where that is negative)")]
    ByteMismatch {
        /// The barrier.
        at: BarrierPlace,
        /// Bytes that came less bytes that were expected.
        excess: i64,
    },
    /// The arrivals of a phase are not those that complete it.
    #[error("{at} has {arrived} arrivals, and {expected} complete a phase")]
    ArrivalMismatch {
        /// The barrier.
        at: BarrierPlace,
        /// Arrivals there were.
        arrived: u32,
        /// Arrivals of a phase.
        expected: u32,
    },
    /// A barrier slot that does not exist.
    #[error("slot {slot} of the barrier {barrier}, which has {slots}")]
    NoSuchBarrier {
        /// The barrier's name.
        barrier: String,
        /// The slot asked for.
        slot: i64,
        /// How many there are.
        slots: u32,
    },
    /// A named barrier that does not exist, or is `__syncthreads`' own.
    #[error("the named barrier {id}: there are 1 to 15")]
    NoSuchNamedBarrier {
        /// The number asked for.
        id: i64,
    },
    /// Threads at a named barrier that do not add up.
    #[error("the named barrier {id} has {arrived} threads of {expected}, and this warp expects {asked}")]
    NamedBarrierMismatch {
        /// Its number.
        id: i64,
        /// Threads that came.
        arrived: u32,
        /// Threads that the first to come said complete it.
        expected: u32,
        /// Threads that this warp says complete it.
        asked: u32,
    },
    /// Arrivals and waits at the cluster's barrier that do not take turns.
    #[error("{what} at the cluster's barrier")]
    ClusterBarrierOrder {
        /// What the warp does.
        what: &'static str,
    },
    /// A rank that the cluster does not have.
    #[error("rank or mask {rank} in a cluster of {size}")]
    NoSuchRank {
        /// The rank, or the mask of ranks.
        rank: i64,
        /// CTAs of the cluster.
        size: usize,
    },
    /// A CTA has ended, or may have, when something comes to its shared memory.
    #[error("{what} the CTA of rank {rank}, which does not have to be there any more")]
    CtaGone {
        /// The CTA's rank in its cluster.
        rank: usize,
        /// What comes.
        what: &'static str,
    },
    /// An accumulator is touched while products own it.
    #[error("touches the accumulator {fragment} while products in flight own it")]
    AccumulatorInFlight {
        /// Its name.
        fragment: String,
    },
    /// Products start on an accumulator that a thread touched, or that nobody did, without a fence.
    #[error("starts products on the accumulator {fragment} without a fence after its threads touched it")]
    MissingProductFence {
        /// Its name.
        fragment: String,
    },
    /// Products or stores are still running when their warp ends.
    #[error("ends with {count} of {operation} never waited for")]
    LeftRunning {
        /// What runs.
        operation: &'static str,
        /// How many.
        count: usize,
    },
    /// Memory that an earlier grid may still write is touched.
    #[error("touches device memory before the wait for the grids that come before")]
    GridNotAwaited,
    /// An atomic whose scope does not take in all who use the word.
    #[error("adds to element {index} of {operand} in a scope that leaves out others who do")]
    NarrowAtomic {
        /// The parameter's name.
        operand: String,
        /// The word.
        index: i64,
    },
    /// A word of the workspace does not hold what the next launch is to find there.
    #[error("leaves {value} in word {index} of {operand}, where the next launch is to find 0")]
    WorkspaceLeft {
        /// The parameter's name.
        operand: String,
        /// The word.
        index: usize,
        /// What it holds.
        value: i64,
    },
    /// Sums of another CTA are added that may not be there.
    #[error("adds the sums in slot {slot} of {operand}, {why}")]
    SumsNotReady {
        /// The parameter's name.
        operand: String,
        /// The slot.
        slot: i64,
        /// What is missing.
        why: &'static str,
    },
    /// A parameter is used as a tensor map and is none.
    #[error("{operand} is no tensor map")]
    NoTensorMap {
        /// The parameter's name.
        operand: String,
    },
    /// A tensor that no tensor map leads to.
    #[error("no tensor map leads to {operand}: {reason}")]
    Unaddressable {
        /// The parameter's name.
        operand: String,
        /// Why not.
        reason: Unaddressable,
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
            FindingKind::UnalignedBox { .. } => "unaligned box",
            FindingKind::WrongWidth { .. } => "wrong width",
            FindingKind::OutOfBounds { .. } => "out of bounds",
            FindingKind::WrittenTwice { .. } => "written twice",
            FindingKind::OverwriteInFlight { .. } => "overwrite in flight",
            FindingKind::MissingProxyFence { .. } => "missing proxy fence",
            FindingKind::BarrierNotReady { .. } => "barrier not ready",
            FindingKind::ByteMismatch { .. } => "byte mismatch",
            FindingKind::ArrivalMismatch { .. } => "arrival mismatch",
            FindingKind::NoSuchBarrier { .. } => "no such barrier",
            FindingKind::NoSuchNamedBarrier { .. } => "no such named barrier",
            FindingKind::NamedBarrierMismatch { .. } => "named barrier mismatch",
            FindingKind::ClusterBarrierOrder { .. } => "cluster barrier order",
            FindingKind::NoSuchRank { .. } => "no such rank",
            FindingKind::CtaGone { .. } => "CTA gone",
            FindingKind::AccumulatorInFlight { .. } => "accumulator in flight",
            FindingKind::MissingProductFence { .. } => "missing product fence",
            FindingKind::LeftRunning { .. } => "left running",
            FindingKind::GridNotAwaited => "grid not awaited",
            FindingKind::NarrowAtomic { .. } => "narrow atomic",
            FindingKind::WorkspaceLeft { .. } => "workspace left",
            FindingKind::SumsNotReady { .. } => "sums not ready",
            FindingKind::NoTensorMap { .. } => "no tensor map",
            FindingKind::Unaddressable { .. } => "unaddressable tensor",
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

/// An mbarrier in one of its phases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarrierPlace {
    /// The CTA whose barrier it is.
    pub cta: usize,
    /// The barriers' name.
    pub barrier: String,
    /// Which of them.
    pub slot: usize,
    /// The phase, counted from 0.
    pub phase: u32,
}

impl fmt::Display for BarrierPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] of CTA {} in phase {}", self.barrier, self.slot, self.cta, self.phase)
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
