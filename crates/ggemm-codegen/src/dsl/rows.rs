//! Rows that start anywhere, in the DSL.

use super::builder::KernelBuilder;
use super::scalar::{Bool, Expr, Grid};
use super::tiles::{GlobalBlock, Slot};
use crate::ir::{Op, Rows};

impl<'k> KernelBuilder<'k> {
    /// Copies the part of a block that exists to rows that start at multiples of 16 bytes; `to` has no bounds.
    #[track_caller]
    pub fn realign(&mut self, from: &GlobalBlock<'k>, to: &GlobalBlock<'k>) {
        self.push(Op::Rows(Rows::Realign { from: from.lower(), to: to.lower() }));
    }

    /// Writes the part of a panel that exists to rows that may start anywhere; where `accumulate` holds, adds it to what is
    /// there. Each warp of a warpgroup writes the rows that it wrote to the panel.
    #[track_caller]
    pub fn store_panel(&mut self, from: &Slot, to: &GlobalBlock<'k>, accumulate: Option<Expr<'k, Bool, Grid>>) {
        let accumulate = accumulate.map(|e| e.id);
        self.push(Op::Rows(Rows::StorePanel { from: from.tile(), to: to.lower(), accumulate }));
    }
}
