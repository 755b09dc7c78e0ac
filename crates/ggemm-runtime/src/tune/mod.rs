//! Tuning: timing the variants that can compute a problem on the machine at hand, and keeping which is fastest.
//!
//! A [`Task`] is a problem with the rows of each group; a [`Suite`] and a [`Model`] make tasks of files. A [`Tuner`]
//! leaves out the variants that the cost model gives no chance, times the others in turns on a [`Bench`], verifies the
//! winner and adds it to a [`Store`]. From then on a [`Planner`](crate::Planner) on that machine chooses it.
//!
//! A bench is a GPU ([`on_gpu`]), or in tests a simulation: only a [`Clock`] knows what time is. The CPU backend has one
//! way to compute and nothing to tune; its [`CpuClock`] is for benchmarks.
//!
//! ```no_run
//! use ggemm_runtime::tune::{self, Settings, Store, TableLocation, Task, Tuner};
//! use ggemm_runtime::{Device, Planner, Problem};
//!
//! let planner = Planner::new(Device::probe()?);
//! let store = Store::at(TableLocation::from_env())?;
//! let tasks = [Task::new("layer", Problem::forward(8, 4096, 1536, 2048), vec![512; 8])?];
//! let mut bench = tune::on_gpu(&planner)?;
//! Tuner::new(&planner, &store, Settings::default()).run(&mut *bench, &tasks, &mut |event| println!("{event}"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bench;
mod cpu;
mod error;
#[cfg(feature = "cuda")]
mod gpu;
mod inputs;
mod machine;
mod model;
mod prune;
mod samples;
mod suite;
mod task;
mod tuner;
mod turns;

pub use bench::{Bench, Clock, on_gpu};
pub use cpu::CpuClock;
pub use error::{TuneError, Wrong};
pub use inputs::Inputs;
pub(crate) use machine::machine;
pub use model::{Model, ModelError};
pub use prune::worth_timing;
pub use suite::{Layer, Suite, SuiteError};
pub use task::{Task, TaskError};
pub use tuner::{Event, Settings, Summary, Tuner};
pub use turns::{Turns, median, take_turns};

pub use crate::select::shipped_table;

pub use ggemm_table::{
    Claim, Distance, Entry, Found, Key, Machine, Routing, Store, Table, TableError, TableLocation, Timing,
};
