//! Planted faults: every statement of a kernel dropped, doubled, moved or weakened in turn, and every expression in it
//! changed in one place, to prove that whoever checks kernels notices.
//!
//! [`mutants`] lists the faults of a kernel, [`hunt`] runs one under the [interpreter](crate::interp), and
//! [`equivalent`] names those that change nothing a program could observe, each with its reason.

mod equivalent;
mod expressions;
mod hopper;
mod hunt;
mod plant;
mod quantize;
mod rows;
mod site;
mod subjects;

use std::fmt;

pub use equivalent::{Equivalent, equivalent, equivalents, is_like};
pub use hunt::{Effort, Ground, Verdict, hunt};
pub use subjects::{Subject, subjects};

use crate::interp::Dice;
use crate::ir::{Kernel, Location, StmtId};

/// A kernel with one fault.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// The statement that is changed.
    pub stmt: StmtId,
    /// The Rust line that wrote it.
    pub location: Location,
    /// Its file and its place in the kernel's structure, in names that do not shift with lines:
    /// `main_loop: loop > if > for block > barrier`.
    pub site: String,
    /// The kind of fault.
    pub kind: MutationKind,
    /// The change, in the kernel's own names.
    pub description: String,
    /// The faulty kernel.
    pub kernel: Kernel,
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({}; {}:{})", self.site, self.description, self.kind, self.location.file, self.location.line)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum MutationKind { $($(#[$doc])* $variant,)* }

        impl MutationKind {
            /// Every kind.
            pub const ALL: &[MutationKind] = &[$(MutationKind::$variant),*];

            /// Its name in tables.
            pub const fn name(self) -> &'static str {
                match self { $(MutationKind::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// A statement is left out.
    Drop "drop";
    /// A wait lets one more group of copies be on its way.
    WeakenWait "weaken wait";
    /// A statement is executed twice.
    Duplicate "duplicate";
    /// A barrier, commit or wait changes places with what is done before it.
    Reorder "reorder";
    /// One of two paths is always taken.
    ForceBranch "force branch";
    /// A bound of a block is forgotten.
    DropBound "drop bound";
    /// A bound of a block is off by one.
    ShiftBound "shift bound";
    /// A loop makes one iteration more or less.
    LoopEnd "loop end";
    /// A constant is off by one, or a truth value flipped.
    Constant "constant";
    /// `<` and `≤` change places, or equality is negated.
    Comparison "comparison";
    /// The smaller and the larger change places.
    MinMax "min/max";
    /// Addition and subtraction change places.
    AddSub "add/sub";
    /// Quotients are rounded the other way, or remainders not taken.
    Division "division";
    /// `and` and `or` change places, or a negation is left out.
    Logic "logic";
    /// The arms of a selection change places.
    SwapArms "swap arms";
    /// Another lane's value is taken.
    Shuffle "shuffle";
    /// A ballot counts the other lanes.
    Predicate "predicate";
    /// A guarded load is always made.
    Guard "guard";
    /// An index array is read in the other width.
    Width "width";
    /// A matrix is read as if it were stored the other way.
    Transpose "transpose";
    /// Another step along the reduction is read.
    Step "step";
    /// The other set of registers is used.
    RegisterSet "register set";
    /// Another slot of a ring is used.
    Slot "slot";
    /// What is there is added to, or not, against the caller's word.
    Accumulate "accumulate";
    /// Columns are written in pairs, or not, against the kernel's alignment.
    Pairing "pairing";
    /// All lanes do what one was elected for.
    EveryLane "every lane";
    /// A wait asks for the other phase.
    Phase "phase";
    /// A barrier expects other bytes, or none.
    Bytes "bytes";
    /// A barrier expects one arrival more or less.
    Arrivals "arrivals";
    /// An arrival goes to the own CTA, or a load to other CTAs.
    Rank "rank";
    /// A named barrier is another, has other threads, or is not waited at.
    Meeting "meeting";
    /// Sums start anew, or do not.
    Keep "keep";
    /// Sums are not multiplied by their scales.
    Scale "scale";
    /// A product leaves out its last columns.
    Columns "columns";
    /// An atomic leaves others out.
    AtomicScope "atomic scope";
    /// An atomic orders nothing else.
    AtomicOrder "atomic order";
}

impl fmt::Display for MutationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Every fault that can be planted into a kernel, statement by statement.
pub fn mutants(kernel: &Kernel) -> Vec<Mutant> {
    site::sites(&kernel.body).iter().flat_map(|site| plant::faults(kernel, site)).collect()
}

/// `count` of the faults, picked by the seed without repetition; all of them where there are no more.
pub fn sample(mut faults: Vec<Mutant>, count: usize, seed: u64) -> Vec<Mutant> {
    let mut dice = Dice::new(seed);
    let count = count.min(faults.len());
    for i in 0..count {
        let other = i + dice.below(faults.len() - i);
        faults.swap(i, other);
    }
    faults.truncate(count);
    faults
}
