//! The kernels, one family a folder, and what they share.
//!
//! [`build`] is the only way from a spec to a kernel, [`quantize::build`] to one that quantizes, and [`realign::build`] to
//! one that copies operands to aligned rows.

mod groups;
mod multistage;
mod operands;
mod parameters;
pub mod quantize;
pub mod realign;
mod scales;
mod stream_k;
mod walk;
mod warp_specialized;

pub use quantize::QuantizeSpec;
pub use realign::RealignSpec;
pub(crate) use stream_k::{CUTS, EXCHANGE_BLOCKS, MOST_UNITS};
pub(crate) use walk::band;

use crate::constraints::ValidSpec;
use crate::dsl::KernelBuilder;
use crate::geometry;
use crate::ir::Kernel;
use crate::spec::{KernelSpec, Major, Ragged};

/// The kernel of a spec.
///
/// # Panics
/// Never for a [`ValidSpec`]: a kernel that breaks the DSL's rules does so for every spec of its family, and the tests
/// build them all.
pub fn build(spec: &ValidSpec) -> Kernel {
    let write = if spec.schedule.is_warp_specialized() { warp_specialized::write } else { multistage::write };
    let [alignment, of_d] = spec.required_alignment();
    let built = KernelBuilder::build(&spec.to_string(), &summary(spec), geometry::threads(spec), alignment, |k| {
        if of_d != alignment {
            k.rows_of_d_aligned_to(of_d);
        }
        write(k, spec);
    });
    match built {
        Ok(kernel) => kernel,
        Err(defects) => {
            let list: Vec<String> = defects.iter().map(ToString::to_string).collect();
            panic!("{} is not a well-formed kernel: {}", spec.spec(), list.join("; "))
        }
    }
}

/// The kernel's product in the notation of a paper.
fn summary(spec: &KernelSpec) -> String {
    match (spec.ragged, spec.b_major) {
        (Ragged::Rows, Major::K) => "d[rows of g] = a[rows of g] · b[g]ᵀ, with a [rows, k] and b[g] [n, k]".to_owned(),
        (Ragged::Rows, Major::Mn) => "d[rows of g] = a[rows of g] · b[g], with a [rows, k] and b[g] [k, n]".to_owned(),
        (Ragged::Reduction, Major::K) => {
            "d[g] = a[blocks of g] · b[blocks of g]ᵀ, with a [m, blocks of 128 rows] and b [n, blocks of 128 rows]"
                .to_owned()
        }
        (Ragged::Reduction, Major::Mn) => {
            "d[g] = a[rows of g]ᵀ · b[rows of g], with a [rows, m] and b [rows, n]".to_owned()
        }
    }
}
