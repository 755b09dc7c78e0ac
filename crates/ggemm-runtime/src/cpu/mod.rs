//! The CPU backend.
//!
//! Each tile of an output is computed by one thread in f32: panels of both operands are converted to f32, multiplied by
//! the `gemm` crate, and rounded once to the output's type. The reduction is cut into blocks of 128 from its start, each
//! is summed in order, and the blocks' sums, times the operands' scales where there are any, are added in order. So an element's bits depend on its own row, column and
//! group alone: not on the number of threads, nor on the tiles, nor on the other rows. (They do depend on whether the
//! processor has fused multiply-add.)

mod element;
mod panel;
mod product;
mod scale;
mod tile;

use std::cell::RefCell;
use std::ops::Range;

use ggemm_codegen::{Contraction, Dtype, Major, Problem};
use half::{bf16, f16};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::args::Args;
use crate::disjoint::DisjointRows;
use crate::error::Error;
use crate::fp8::{e4m3, e5m2};
use crate::groups::{self, Runs};
use element::{Operand, Output};
use panel::{Panels, Source};
use scale::Scales;
use tile::{Tiles, Work};

/// A problem, ready to run on the CPU.
#[derive(Clone, Debug)]
pub(crate) struct CpuPlan {
    problem: Problem,
    contraction: Contraction,
}

thread_local! {
    /// The panels of the tile that a thread works on, kept from tile to tile and from run to run.
    static PANELS: RefCell<Panels> = RefCell::default();
}

impl CpuPlan {
    pub(crate) fn new(problem: &Problem) -> Self {
        CpuPlan { problem: problem.clone(), contraction: problem.contraction() }
    }

    /// Computes the product. The arguments have passed [`check::args`](crate::check::args).
    pub(crate) fn run(&self, args: Args<'_>) -> Result<(), Error> {
        let runs = Runs::checked(&self.problem, groups::values(&args.groups))?;
        let Contraction { a, b, .. } = &self.contraction;
        match (a.dtype, b.dtype) {
            (Dtype::E4m3, Dtype::E5m2) => self.run_operands::<e4m3, e5m2>(args, &runs),
            (Dtype::E4m3, _) => self.run_operands::<e4m3, e4m3>(args, &runs),
            (Dtype::E5m2, Dtype::E4m3) => self.run_operands::<e5m2, e4m3>(args, &runs),
            (Dtype::E5m2, _) => self.run_operands::<e5m2, e5m2>(args, &runs),
            (Dtype::F16, _) => self.run_operands::<f16, f16>(args, &runs),
            (Dtype::F32, _) => self.run_operands::<f32, f32>(args, &runs),
            _ => self.run_operands::<bf16, bf16>(args, &runs),
        }
        Ok(())
    }

    fn run_operands<A: Operand, B: Operand>(&self, args: Args<'_>, runs: &Runs) {
        let Args { lhs, rhs, .. } = &args;
        let (a, b) = if self.contraction.operands_exchanged { (rhs, lhs) } else { (lhs, rhs) };
        let scales = match (self.contraction.scales, &a.scales, &b.scales) {
            (Some(shapes), Some(a), Some(b)) => {
                Some(Scales { shapes, values: [a, b].map(|view| view.as_slice().unwrap_or_default()) })
            }
            _ => None,
        };
        let (Some(a), Some(b)) = (a.elements.as_slice::<A>(), b.elements.as_slice::<B>()) else { return };
        let operands = Operands { a, b, scales };
        match self.contraction.output {
            Dtype::F32 => self.run_output::<A, B, f32>(operands, args.out.into_mut_slice(), runs),
            Dtype::F16 => self.run_output::<A, B, f16>(operands, args.out.into_mut_slice(), runs),
            _ => self.run_output::<A, B, bf16>(operands, args.out.into_mut_slice(), runs),
        }
    }

    fn run_output<A: Operand, B: Operand, O: Output>(
        &self,
        operands: Operands<'_, A, B>,
        d: Option<&mut [O]>,
        runs: &Runs,
    ) {
        let Some(d) = d else { return };
        let c = &self.contraction;
        if c.zero_tail {
            zero_rows(d, c, runs.total()..c.rows);
        }
        let shared = c.weight_shared.then(|| runs.merged());
        let tiles = Tiles::new(c, shared.as_ref().unwrap_or(runs), rayon::current_num_threads());
        let d = DisjointRows::new(d);
        (0..tiles.count()).into_par_iter().for_each(|index| {
            PANELS.with_borrow_mut(|panels| self.compute(operands, &d, &tiles.get(index), panels));
        });
    }

    /// Computes one tile.
    fn compute<A: Operand, B: Operand, O: Output>(
        &self,
        Operands { a, b, scales }: Operands<'_, A, B>,
        d: &DisjointRows<'_, O>,
        work: &Work,
        panels: &mut Panels,
    ) {
        let c = &self.contraction;
        let b = b.get(work.group.saturating_mul(c.b.group_stride)..).unwrap_or_default();
        let a = Source { data: a, row_stride: c.a.row_stride, along_k: c.a_major == Major::K };
        let b = Source { data: b, row_stride: c.b.row_stride, along_k: c.b_major == Major::K };
        let sums = panels.product(a, b, scales, work);
        Arch::new().dispatch(Write { c, d, work, sums });
    }
}

/// What is multiplied.
#[derive(Clone, Copy)]
struct Operands<'a, A, B> {
    a: &'a [A],
    b: &'a [B],
    scales: Option<Scales<'a>>,
}

/// Rounds the sums of a tile to their place in D, or adds them to it, with the widest vectors that the processor has.
struct Write<'a, O, I> {
    c: &'a Contraction,
    d: &'a DisjointRows<'a, O>,
    work: &'a Work,
    sums: I,
}

impl<'a, O: Output, I: Iterator<Item = &'a [f32]>> WithSimd for Write<'a, O, I> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Write { c, d, work, sums } = self;
        let base = work.group.saturating_mul(c.d.group_stride);
        for (row, sums) in work.rows.clone().zip(sums) {
            let start = base + row * c.d.row_stride + work.cols.start;
            // SAFETY: tiles share no element of D. Each has its own group, rows or columns, and the problem's check saw
            // to it that rows and groups do not overlap.
            let out = unsafe { d.get(start..start + work.cols.len()) };
            if c.accumulate { O::add(out, sums) } else { O::round(out, sums) }
        }
    }
}

/// Zeroes rows of a D that has ragged rows, not what lies between them.
fn zero_rows<O: Output>(d: &mut [O], c: &Contraction, rows: Range<usize>) {
    if c.cols == 0 {
        return;
    }
    for row in rows {
        let start = row * c.d.row_stride;
        if let Some(row) = d.get_mut(start..start + c.cols) {
            row.fill(O::zeroed());
        }
    }
}
