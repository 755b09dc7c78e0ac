//! The timeline of one CTA of a run in the [interpreter](crate::interp): what each warp does, what each slot of shared
//! memory holds, which phase each barrier is in.
//!
//! The unit of time is a *turn*: in one, every warp of the launch that can go on executes one statement, on average. So
//! time follows the order in which the interpreter did things, and a warp that waits shows how many statements the others
//! execute meanwhile; but a turn is no clock, and a product takes one like an addition. Which warp goes on first, and
//! when loads land, is the [policy](crate::interp::Policy)'s choice.
//!
//! [`record`] runs a [`Case`] and makes a [`Timeline`], which [`chrome`] and [`svg`] write.

pub mod chrome;
mod example;
mod recorder;
pub mod svg;
mod timeline;

pub use example::{Example, ExampleError};
pub use timeline::{
    Awaited, BarrierTrack, Kind, Lane, PhaseSpan, ProductGroup, Released, Ring, SlotSpan, SlotState, Span, Timeline,
    Wait,
};

use crate::interp::cases::Case;
use crate::interp::{Finding, Settings, run_observed};
use crate::ir::Kernel;
use recorder::Recorder;

/// Why there is no timeline.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// No such CTA.
    #[error("CTA {cta} of a launch of {ctas}: they are counted from 0")]
    NoCta {
        /// The CTA asked for.
        cta: usize,
        /// CTAs of the launch.
        ctas: usize,
    },
    /// The run came to a breach of the protocol.
    #[error(transparent)]
    Finding(Box<Finding>),
}

/// Runs `kernel` on a case and records what the CTA with this index does.
///
/// # Errors
/// There is no such CTA, or the run ends with a finding.
pub fn record(kernel: &Kernel, case: &Case, settings: Settings, cta: usize) -> Result<Timeline, TraceError> {
    let ctas = settings.ctas_of(&kernel.contract);
    if cta >= ctas {
        return Err(TraceError::NoCta { cta, ctas });
    }
    let mut recorder = Recorder::new(kernel, cta);
    run_observed(kernel, case.contraction(), &mut case.memory(), settings, &mut recorder)
        .map_err(TraceError::Finding)?;
    let settings = Settings { ctas, ..settings };
    Ok(timeline::assemble(kernel, case.to_string(), settings, recorder))
}
