//! The kernels that copy operands to aligned rows: what they copy, their text, and the faults planted into them.

mod case;
mod interpreter;
mod mutants;
mod text;
