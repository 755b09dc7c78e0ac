//! One module a command.

pub(crate) mod emit;
pub(crate) mod list;
pub(crate) mod run;
pub(crate) mod tune;
pub(crate) mod verify;
