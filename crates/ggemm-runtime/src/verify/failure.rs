//! What a case found wrong.

use std::fmt;

use crate::compare::{Comparison, Mode};
use crate::error::Error;
use crate::verify::case::Case;
use crate::verify::guard::Overwritten;

/// A case that is not as it should be.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case; its seed replays it.
    pub case: Case,
    /// What the operands held: `Bound` stands for real values, `Exact` for small integers.
    pub mode: Mode,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a case.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The output is not the reference's, or something else was written.
    #[error("{0}")]
    Output(Box<Comparison>),
    /// Another run of the same problem left other bits.
    #[error("element {index} of the output differs from run to run: a race")]
    Moves {
        /// The element's index in the buffer.
        index: usize,
    },
    /// A quantized copy is not the CPU's.
    #[error("element {index} of the {what} of copy {copy} is not what the CPU makes of it")]
    Quantized {
        /// Which copy, from 0.
        copy: usize,
        /// `elements` or `scales`.
        what: &'static str,
        /// The element's index in the buffer.
        index: usize,
    },
    /// An operand, or the memory beside a tensor, was written.
    #[error(
        "{} was overwritten {}", .0.tensor, match usize::try_from(.0.element) {
            Err(_) => format!("{} elements before its first", -.0.element),
            Ok(element) if element < .0.elements => format!("at element {element}, and is an operand"),
            Ok(element) => format!("{} elements past its last", element - .0.elements + 1),
        }
    )]
    Overwritten(Overwritten),
    /// The runtime refused, the device failed, or the interpreter found a breach of the protocol.
    #[error(transparent)]
    Runtime(#[from] Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = if self.mode == Mode::Exact { "small integers" } else { "real values" };
        write!(
            f,
            "{}\n  seed     {}\n  problem  {}\n  data     {data}\n  found    {}",
            self.case.spec(),
            self.case.seed(),
            self.case,
            self.fault
        )
    }
}

impl std::error::Error for Failure {}

impl From<Overwritten> for Fault {
    fn from(overwritten: Overwritten) -> Self {
        Fault::Overwritten(overwritten)
    }
}
