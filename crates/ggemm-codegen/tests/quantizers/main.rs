//! Kernels that quantize: held in the interpreter against the definition of each copy, bit for bit; their text; and the
//! faults planted into them.

mod case;
mod interpreter;
mod mutants;
mod text;
