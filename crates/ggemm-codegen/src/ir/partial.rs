//! Sums of a part of a tile's reduction on their way to another CTA of the grid, through device memory.
//!
//! Every CTA has a slot for the sums of one tile, as they lie in registers: a block of 64 rows after another, in each 8
//! columns after another, and of those the four sums of each thread.

use super::expr::ExprId;
use super::stmt::{FragmentId, ParamId};

/// Writes a warpgroup's sums to a slot. They may be read once a word says so.
#[derive(Clone, Copy, Debug)]
pub struct SaveSums {
    /// The accumulator.
    pub from: FragmentId,
    /// The slots.
    pub pointer: ParamId,
    /// Which of them (i32).
    pub slot: ExprId,
}

/// Adds what a slot holds to a warpgroup's sums.
#[derive(Clone, Copy, Debug)]
pub struct AddSaved {
    /// The accumulator.
    pub to: FragmentId,
    /// The slots.
    pub pointer: ParamId,
    /// Which of them (i32).
    pub slot: ExprId,
}

/// Waits until a word of device memory holds a value; what was released with it is visible after, on the whole device.
#[derive(Clone, Copy, Debug)]
pub struct AwaitWord {
    /// The words.
    pub pointer: ParamId,
    /// Which of them (i32).
    pub index: ExprId,
    /// The value (i32).
    pub value: ExprId,
}
