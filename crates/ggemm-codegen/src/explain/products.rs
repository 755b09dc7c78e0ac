//! What the tensor cores are asked for.

use serde::Serialize;

use super::Site;
use crate::descriptor::{WGMMA_M, wgmma_k};
use crate::geometry::{MMA_M, MMA_N, WARPS_OF_WARPGROUP, mma_k};
use crate::ir::{Kernel, Op, Stmt};

/// The products of a role, of one shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Products {
    /// The role.
    pub role: String,
    /// The instruction with its shape.
    pub instruction: String,
    /// Warps that execute one together.
    pub warps: u32,
    /// How many each of them (each warp, or each warpgroup) executes in a step along the reduction.
    pub per_step: u32,
    /// Steps of a stage.
    pub steps_of_stage: u32,
    /// How many it executes for a stage.
    pub per_stage: u32,
    /// Multiply-adds of one.
    pub multiply_adds: u32,
}

pub(super) fn shapes(kernel: &Kernel, sites: &[(Site, &Stmt)]) -> Vec<Products> {
    let fragment = |id: crate::ir::FragmentId| &kernel.body.fragments[id.0 as usize].map;
    let mut shapes: Vec<Products> = Vec::new();
    // The operand tile whose rows or columns are the reduction says how deep a stage is.
    let mut depth = 0;
    for (_, stmt) in sites {
        if let Op::LoadMatrix { from, transposed, .. } = &stmt.op {
            let (rows, cols) = kernel.body.shared[from.tile.0 as usize].layout.shape();
            depth = if *transposed { rows } else { cols };
        }
    }
    for (site, stmt) in sites {
        let (instruction, warps, per_step, steps_of_stage, multiply_adds) = match &stmt.op {
            Op::Multiply { accumulator, a, .. } => {
                let values = &fragment(*accumulator).values;
                let k = mma_k(kernel.body.fragments[a.0 as usize].dtype.size_bytes());
                let name = format!("mma.sync.m{MMA_M}n{MMA_N}k{k}");
                (name, 1, values[2].extent * values[3].extent, depth / k, MMA_M * MMA_N * k)
            }
            Op::WarpgroupMultiply(p) => {
                let accumulator = &kernel.body.fragments[p.accumulator.0 as usize];
                let (values, n) = (&accumulator.map.values, p.width(accumulator));
                let layout = &kernel.body.shared[p.a.tile.0 as usize].layout;
                let ((rows, cols), k) = (layout.shape(), wgmma_k(layout.element_bytes));
                let depth = if p.a_is_mn_major { rows } else { cols };
                let name = format!("wgmma.m{WGMMA_M}n{n}k{k}");
                (name, WARPS_OF_WARPGROUP, values[3].extent, depth / k, WGMMA_M * n * k)
            }
            _ => continue,
        };
        let products = Products {
            role: site.role.clone(),
            instruction,
            warps,
            per_step,
            steps_of_stage,
            per_stage: per_step * steps_of_stage,
            multiply_adds,
        };
        // Columns after those of another statement of the same stage are more of the same products.
        let more = matches!(&stmt.op, Op::WarpgroupMultiply(p) if p.first > 0);
        let same = |s: &&mut Products| more && (&s.role, &s.instruction) == (&products.role, &products.instruction);
        if let Some(shape) = shapes.iter_mut().find(same) {
            shape.per_step += products.per_step;
            shape.per_stage += products.per_stage;
        } else if !shapes.contains(&products) {
            shapes.push(products);
        }
    }
    shapes
}
