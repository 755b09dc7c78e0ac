//! The `ggemm` command.

fn main() {}
