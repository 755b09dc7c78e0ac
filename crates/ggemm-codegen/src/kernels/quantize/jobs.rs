//! Which part of the source a CTA quantizes at a time: what has all that its scales depend on.

use super::super::walk::{GroupsDivide, Strided, Tile, Tiling, Walk};
use super::parameters::{CopyParameters, Extent, Parameters};
use super::spec::{Copy, QuantizeSpec};
use crate::dsl::{self, Bool, Cta, Expr, GlobalBlock, I32, I64, KernelBuilder};
use crate::ir::SharedBy;
use crate::scaling::{SCALE_BLOCK, Scaling};
use crate::spec::Cluster;

/// The side of a block of elements that share a scale.
const SIDE: i32 = SCALE_BLOCK as i32;

/// A block of a group's or a matrix' rows, or the first of those that share scales.
#[derive(Clone, Copy)]
pub(super) struct Job<'k> {
    /// The group's or the matrix' number.
    group: Expr<'k, I32, Cta>,
    /// The group's first row in the source; 0 for a matrix.
    start: Expr<'k, I32, Cta>,
    /// The same, counted through all matrices.
    source_start: Expr<'k, I64, Cta>,
    /// The group's or the matrix' rows.
    rows: Expr<'k, I32, Cta>,
    /// The block's first row in them.
    row: Expr<'k, I32, Cta>,
    /// The block's first column.
    col: Expr<'k, I32, Cta>,
    /// The CTA's rank in its cluster, where those divide whole rows or columns.
    pub(super) rank: Option<Expr<'k, I32, Cta>>,
    /// It lies past the last group.
    pub(super) is_tail: Option<Expr<'k, Bool, Cta>>,
}

/// Does `body` for each job of this CTA.
pub(super) fn each<'k>(
    k: &mut KernelBuilder<'k>,
    s: &QuantizeSpec,
    p: &Parameters<'k>,
    body: impl FnOnce(&mut KernelBuilder<'k>, Job<'k>),
) {
    let by = s.form().copy.by;
    let rank = (s.ctas() > 1).then(|| k.let_("rank", k.cluster_rank()));
    let (rows_of_block, cols_of_block) = s.block();
    let (is_cut_along_rows, is_cut_along_cols) = match s.form().scaling {
        Scaling::Row => (by == SharedBy::Row, by == SharedBy::Column),
        Scaling::None | Scaling::Block => (true, true),
    };
    let col_tiles = if is_cut_along_cols { p.cols.ceil_div(cols_of_block) } else { k.int(1) };
    let col_tiles = k.let_("col_tiles", col_tiles);
    match p.extent {
        Extent::Groups { groups, merge } => {
            // Rows past the last group are tokens too, but no reduction's.
            let has_tail = s.copies().any(|copy| copy.by == SharedBy::Row);
            let visit_tail = has_tail.then(|| k.always());
            let row_tiles = k.int(1);
            let walk = Walk {
                token_rows: p.rows,
                tiling: Tiling {
                    rows: rows_of_block,
                    cols: cols_of_block,
                    row_step: None,
                    cluster: Cluster::NONE,
                    cluster_ctas: s.ctas(),
                    band: 1,
                },
                col_tiles,
                groups_divide: if is_cut_along_rows {
                    GroupsDivide::Rows { visit_tail, merge: Some(merge) }
                } else {
                    GroupsDivide::Reduction { row_tiles, skip_empty: None, merge }
                },
            };
            walk.each(k, &groups, &Strided { clusters: s.ctas() > 1 }, |k, tile| {
                let Tile { group, group_start, group_rows, row, col, .. } = *tile;
                let is_tail = has_tail.then(|| group.equals(groups.count));
                let source_start = group_start.cast();
                body(k, Job { group, start: group_start, source_start, rows: group_rows, row, col, rank, is_tail });
            });
        }
        Extent::Matrices(count) => {
            let row_tiles = if is_cut_along_rows { p.rows.ceil_div(rows_of_block) } else { k.int(1) };
            let of_each = k.let_("blocks_of_each", row_tiles * col_tiles);
            let (first, stride) = match s.ctas() {
                1 => (k.cta(), k.cta_count()),
                _ => (k.cluster().within(), k.cluster_count()),
            };
            let number = k.var::<I32, Cta, _>("block", first);
            k.loop_(|k| {
                let is_past = !number.get().lt(count * of_each);
                match s.ctas() {
                    1 => k.break_if(is_past),
                    _ => k.break_if(is_past.agree::<dsl::Cluster>()),
                }
                let group = k.let_("matrix", number.get() / of_each);
                let in_matrix = k.let_("block_of_matrix", number.get() - group * of_each);
                let row_tile = in_matrix / col_tiles;
                let row = k.let_("first_row", row_tile * rows_of_block);
                let col = k.let_("first_col", (in_matrix - row_tile * col_tiles) * cols_of_block);
                let source_start = group.cast::<I64>() * p.rows.cast::<I64>();
                let start = k.int(0).within();
                body(k, Job { group, start, source_start, rows: p.rows.within(), row, col, rank, is_tail: None });
                k.set(number, number.get() + stride);
            });
        }
    }
}

impl<'k> Job<'k> {
    /// How many blocks of those that share the job's scales, which belong to whole rows or columns, are this CTA's.
    pub(super) fn blocks(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &QuantizeSpec,
        p: &Parameters<'k>,
        by: SharedBy,
    ) -> Expr<'k, I32, Cta> {
        let (rows, cols) = s.block();
        let (length, step) = if by == SharedBy::Row { (p.cols.within(), cols) } else { (self.rows, rows) };
        let blocks = k.let_("blocks", length.ceil_div(step));
        match (self.rank, s.ctas() as i32) {
            (None, _) => blocks,
            (Some(rank), ctas) => k.let_("own_blocks", (blocks + (ctas - 1) - rank) / ctas),
        }
    }

    /// One of them. The CTAs of a cluster have neighbouring ones.
    pub(super) fn block(
        self,
        k: &mut KernelBuilder<'k>,
        s: &QuantizeSpec,
        by: SharedBy,
        number: Expr<'k, I32, Cta>,
    ) -> Self {
        let (rows, cols) = s.block();
        let number = match self.rank {
            None => number,
            Some(rank) => number * s.ctas() + rank,
        };
        match by {
            SharedBy::Row => Job { col: k.let_("col_of_block", number * cols), ..self },
            _ => Job { row: k.let_("row_of_block", number * rows), ..self },
        }
    }

    fn rows_left(&self) -> Expr<'k, I32, Cta> {
        self.rows - self.row
    }

    fn cols_left(&self, p: &Parameters<'k>) -> Expr<'k, I32, Cta> {
        p.cols - self.col
    }

    /// The block of the source.
    pub(super) fn source(&self, p: &Parameters<'k>) -> GlobalBlock<'k> {
        let (row, col) = (self.source_start + self.row.cast::<I64>(), self.col.cast::<I64>());
        let row_stride = p.cols.cast::<I64>();
        GlobalBlock {
            pointer: p.source,
            origin: row * row_stride + col,
            row_stride,
            rows: Some(self.rows_left()),
            cols: Some(self.cols_left(p)),
        }
    }

    /// The block of a copy. A transposed copy of a group has all of the group's last block, zeros past its end.
    pub(super) fn elements(
        &self,
        s: &QuantizeSpec,
        p: &Parameters<'k>,
        c: &CopyParameters<'k>,
        copy: Copy,
    ) -> GlobalBlock<'k> {
        let (row, col) = (self.row.cast::<I64>(), self.col.cast::<I64>());
        let across = |row: Expr<'k, I64, Cta>| {
            if copy.transposed { col * c.row_stride + row } else { row * c.row_stride + col }
        };
        let origin = match c.group_stride {
            Some(group_stride) => self.group.cast::<I64>() * group_stride + across(row),
            None if copy.transposed => across((self.first_row_block() * SIDE).cast::<I64>() + row),
            None => across(self.source_start + row),
        };
        let is_padded = copy.transposed && c.group_stride.is_none();
        let (rows, cols) = (Some(self.rows_left()), Some(self.cols_left(p)));
        GlobalBlock {
            pointer: c.elements,
            origin,
            row_stride: c.row_stride,
            rows: if copy.transposed { cols } else { rows },
            cols: match copy.transposed {
                // A block of 128 rows exists, or has zeros, to its end.
                true if is_padded => (s.block().0 > SIDE as u32).then(|| self.rows_left().ceil_div(SIDE) * SIDE),
                true => rows,
                false => cols,
            },
        }
    }

    /// Where the block's scales lie.
    pub(super) fn scales(
        &self,
        p: &Parameters<'k>,
        c: &CopyParameters<'k>,
        by: SharedBy,
        scaling: Scaling,
    ) -> GlobalBlock<'k> {
        let wide = |e: Expr<'k, I32, Cta>| e.cast::<I64>();
        let is_ragged = c.group_stride.is_none();
        let row_stride = c.scale_row_stride.unwrap_or(c.row_stride);
        let col_block = wide(self.col / SIDE);
        let of_group = c.scale_group_stride.map(|stride| wide(self.group) * stride);
        let in_group = match (by, scaling) {
            (SharedBy::Row, _) => {
                let row = if is_ragged { self.source_start + wide(self.row) } else { wide(self.row) };
                let of_row = row * row_stride;
                if scaling == Scaling::Block { of_row + col_block } else { of_row }
            }
            (SharedBy::Column, Scaling::Block) => {
                wide(self.first_row_block() + self.row / SIDE) * row_stride + wide(self.col)
            }
            (SharedBy::Column, _) => wide(self.col),
            (SharedBy::Block, _) => {
                let col_stride = c.scale_col_stride.unwrap_or(row_stride);
                wide(self.row / SIDE) * row_stride + col_block * col_stride
            }
        };
        GlobalBlock {
            pointer: c.scales,
            origin: of_group.map_or(in_group, |of_group| of_group + in_group),
            row_stride,
            rows: (by == SharedBy::Row).then(|| self.rows_left()),
            cols: (by == SharedBy::Column).then(|| self.cols_left(p)),
        }
    }

    /// The number of the group's first block of rows.
    fn first_row_block(&self) -> Expr<'k, I32, Cta> {
        self.start / SIDE + self.group
    }
}
