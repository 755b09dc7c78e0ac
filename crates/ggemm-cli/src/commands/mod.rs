//! One module a command.

pub(crate) mod bench;
pub(crate) mod cache;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod emit;
pub(crate) mod list;
pub(crate) mod run;
pub(crate) mod trace;
pub(crate) mod tune;
pub(crate) mod verify;
