//! How an output is divided among threads. The division changes no bit of the result.

use std::ops::Range;

use ggemm_codegen::{Contraction, Ragged};

use crate::groups::Runs;

/// Largest tile side: at 256 the conversion of the panels is a small part of the products.
const LARGEST: usize = 256;
/// Smallest tile side that is worth a task of its own.
const SMALLEST: usize = 64;
/// Tiles for each thread, so that threads end together.
const TILES_PER_THREAD: usize = 8;

/// A tile of D and the part of the reduction that it sums.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Work {
    /// The group whose matrices are used.
    pub(super) group: usize,
    /// Rows of D.
    pub(super) rows: Range<usize>,
    /// Columns of D.
    pub(super) cols: Range<usize>,
    /// Elements of the reduction, by where the operands hold them.
    pub(super) reduction: Range<usize>,
    /// The block in which the reduction starts, as scales number blocks.
    pub(super) first_block: usize,
}

/// All tiles of an output, by number. Tiles that share rows of A are neighbours.
pub(super) struct Tiles {
    blocks: Vec<Block>,
    side: usize,
    cols: usize,
}

struct Block {
    group: usize,
    rows: Range<usize>,
    reduction: Range<usize>,
    first_block: usize,
}

impl Tiles {
    /// Divides the output of `c` where the groups own `runs`, with tiles small enough for all of `threads`.
    pub(super) fn new(c: &Contraction, runs: &Runs, threads: usize) -> Self {
        let mut side = LARGEST;
        while side > SMALLEST && Self::estimate(c, runs, side) < threads.saturating_mul(TILES_PER_THREAD) {
            side /= 2;
        }
        let mut blocks = Vec::new();
        for (group, run) in runs.iter().enumerate() {
            let (first, first_block) = (c.reduction_start(run.start, group), c.first_block(run.start, group));
            let (rows, reduction) = match c.ragged {
                Ragged::Rows => (run, first..c.reduction),
                Ragged::Reduction => (0..c.rows, first..first + run.len()),
            };
            // Nothing is added to an output that already holds the sum of no rows.
            if c.accumulate && reduction.is_empty() {
                continue;
            }
            for start in rows.clone().step_by(side) {
                let rows = start..rows.end.min(start + side);
                blocks.push(Block { group, rows, reduction: reduction.clone(), first_block });
            }
        }
        Tiles { blocks, side, cols: c.cols }
    }

    /// The number of tiles, had every run whole ones.
    fn estimate(c: &Contraction, runs: &Runs, side: usize) -> usize {
        let across = c.cols.div_ceil(side);
        let down = match c.ragged {
            Ragged::Rows => runs.iter().map(|run| run.len().div_ceil(side)).fold(0, usize::saturating_add),
            Ragged::Reduction => runs.len().saturating_mul(c.rows.div_ceil(side)),
        };
        across.saturating_mul(down)
    }

    fn across(&self) -> usize {
        self.cols.div_ceil(self.side)
    }

    pub(super) fn count(&self) -> usize {
        self.blocks.len().saturating_mul(self.across())
    }

    /// Tile `index`, below [`Tiles::count`].
    pub(super) fn get(&self, index: usize) -> Work {
        let (block, col) = (&self.blocks[index / self.across()], index % self.across() * self.side);
        Work {
            group: block.group,
            rows: block.rows.clone(),
            cols: col..self.cols.min(col + self.side),
            reduction: block.reduction.clone(),
            first_block: block.first_block,
        }
    }
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::{Dtype, Operation, Problem};

    use super::*;

    /// Marks every element of D that a tile covers; each must be covered once, if its group has anything to write.
    #[test]
    fn tiles_cover_each_element_once() {
        for operation in Operation::ALL {
            for threads in [1, 7, 64] {
                let problem = Problem::new(operation, 4, 700, 300, 130);
                let runs = Runs::clamped(&problem, [260, 0, 1, 400]);
                let c = problem.contraction();
                let tiles = Tiles::new(&c, &runs, threads);
                let mut seen = vec![0_u8; c.d.groups * c.rows * c.cols];
                for work in (0..tiles.count()).map(|index| tiles.get(index)) {
                    let matrix = if c.ragged == Ragged::Rows { 0 } else { work.group * c.rows };
                    for row in work.rows.clone() {
                        for col in work.cols.clone() {
                            seen[(matrix + row) * c.cols + col] += 1;
                        }
                    }
                }
                let owned = if c.ragged == Ragged::Rows { 661 * c.cols } else { seen.len() };
                assert!(seen[..owned].iter().all(|n| *n == 1) && seen[owned..].iter().all(|n| *n == 0), "{problem}");
            }
        }
    }

    #[test]
    fn nothing_to_add_is_no_work() {
        let problem = Problem::grad_w(3, 10, 64, 64).output(Dtype::F32).accumulate(true);
        let runs = Runs::clamped(&problem, [0, 10, 0]);
        assert_eq!(Tiles::new(&problem.contraction(), &runs, 1).count(), 1);
    }

    #[test]
    fn more_threads_get_smaller_tiles_until_the_smallest() {
        let problem = Problem::forward(1, 512, 512, 64);
        let runs = Runs::clamped(&problem, [512]);
        let count = |threads| Tiles::new(&problem.contraction(), &runs, threads).count();
        assert_eq!([count(0), count(1), count(2), count(1000)], [4, 16, 16, 64]);
    }
}
