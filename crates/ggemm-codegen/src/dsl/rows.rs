//! Rows that start anywhere, in the DSL.

use super::builder::KernelBuilder;
use super::scalar::{Bool, Expr, Grid, I32, Warpgroup, Within};
use super::tiles::{GlobalBlock, Slot};
use crate::ir::{Op, Rows};

impl<'k> KernelBuilder<'k> {
    /// Copies the part of a block that exists to rows that start at multiples of 16 bytes; `to` has no bounds.
    #[track_caller]
    pub fn realign(&mut self, from: &GlobalBlock<'k>, to: &GlobalBlock<'k>) {
        self.push(Op::Rows(Rows::Realign { from: from.lower(), to: to.lower() }));
    }

    /// Writes the part of a panel that exists to rows that may start anywhere, from a row and a column of `to` on; where
    /// `accumulate` holds, adds it to what is there. Each warp of a warpgroup writes the rows that it wrote to the panel.
    #[track_caller]
    pub fn store_panel<S: Within<Warpgroup>>(
        &mut self,
        from: &Slot,
        (to, row, col): (&GlobalBlock<'k>, Expr<'k, I32, S>, u32),
        accumulate: Option<Expr<'k, Bool, Grid>>,
    ) {
        let (to, accumulate) = (to.lower_from(row, col), accumulate.map(|e| e.id));
        self.push(Op::Rows(Rows::StorePanel { from: from.tile(), to, accumulate }));
    }
}
