//! Copies of operands whose rows the copy engine cannot address, with rows that it can: a pass before a product.
//!
//! A CTA copies one block of a matrix, 16 bytes at a time: each piece from the one or two aligned pieces that hold it.
//! Matrices of groups without rows are passed over, as no product reads them. Launched with a CTA for each block, the pass
//! takes as long as a plain copy does (docs/tuning.md).

mod before;
mod parameters;
mod scenario;
mod spec;
mod task;

pub use before::Realigned;
pub use scenario::RealignScenario;
pub use spec::{RealignNameError, RealignSpec};
pub use task::{RealignTask, Which};

use crate::dsl::{Bool, Cta, Expr, GlobalBlock, I32, I64, KernelBuilder};
use crate::geometry::{REALIGNED_COLS, realigned_rows};
use crate::ir::Kernel;
use parameters::Parameters;

/// The kernel of a spec.
///
/// # Panics
/// Never: a kernel that breaks the DSL's rules does so always, and a test builds them all.
pub fn build(spec: &RealignSpec) -> Kernel {
    let summary = format!("matrices of {} with rows anywhere, copied to rows at multiples of 16 bytes", spec.element());
    let alignment = spec.element().size_bytes();
    let built = KernelBuilder::build(&spec.to_string(), &summary, spec.threads(), alignment, |k| write(k, spec));
    match built {
        Ok(kernel) => kernel,
        Err(defects) => {
            let list: Vec<String> = defects.iter().map(ToString::to_string).collect();
            panic!("{spec} is not a well-formed kernel: {}", list.join("; "))
        }
    }
}

fn write<'k>(k: &mut KernelBuilder<'k>, spec: &RealignSpec) {
    let p = Parameters::declare(k, spec);
    k.resident_ctas(spec.resident());
    let rows_of_block = realigned_rows(spec.threads()) as i32;
    let col_blocks = k.let_("col_blocks", p.cols.ceil_div(REALIGNED_COLS as i32));
    let of_each = k.let_("blocks_of_each", p.rows.ceil_div(rows_of_block) * col_blocks);
    let number = k.var::<I32, Cta, _>("block", k.cta());
    k.loop_(|k| {
        k.break_if(!number.get().lt(p.matrices * of_each));
        let matrix = k.let_("matrix", number.get() / of_each);
        let in_matrix = k.let_("block_of_matrix", number.get() - matrix * of_each);
        let row_block = in_matrix / col_blocks;
        let row = k.let_("first_row", row_block * rows_of_block);
        let col = k.let_("first_col", (in_matrix - row_block * col_blocks) * REALIGNED_COLS as i32);
        let is_read = is_read(k, &p, matrix);
        k.when(is_read, |k| {
            let at = |group_stride: Expr<'k, I64, _>, row_stride: Expr<'k, I64, _>| {
                matrix.cast::<I64>() * group_stride + row.cast::<I64>() * row_stride + col.cast::<I64>()
            };
            let from = GlobalBlock {
                pointer: p.source,
                origin: at(p.source_group_stride, p.source_row_stride),
                row_stride: p.source_row_stride,
                rows: Some(p.rows - row),
                cols: Some(p.cols - col),
            };
            let to = GlobalBlock {
                pointer: p.copy,
                origin: at(p.copy_group_stride, p.copy_row_stride),
                row_stride: p.copy_row_stride,
                rows: None,
                cols: None,
            };
            k.realign(&from, &to);
        });
        k.set(number, number.get() + k.cta_count());
    });
}

/// Whether a product reads a group's matrix: the group may have rows. An entry that contradicts the problem may say so of
/// a group without any, never the other way.
fn is_read<'k>(k: &mut KernelBuilder<'k>, p: &Parameters<'k>, matrix: Expr<'k, I32, Cta>) -> Expr<'k, Bool, Cta> {
    let (groups, lane) = (&p.groups, k.lane());
    k.comment("The second lane has the group's entry, the first the one before, which ends are held against.");
    let has_entry = lane.equals(1) | (lane.equals(0) & groups.are_ends & k.int(0).lt(matrix));
    let entry = k.load_index("entry", groups.array, matrix - 1 + lane, groups.are_i64, p.skip_empty & has_entry);
    let before = k.shuffle_up("entry_before", entry, 1);
    let has_rows = k.ballot("has_rows", lane.equals(1) & before.lt(entry));
    k.let_("is_read", !has_rows.is_empty().agree::<Cta>() | !p.skip_empty)
}
