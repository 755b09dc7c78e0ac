//! Kernels that quantize, which a request takes all together.

use ggemm_codegen::{Arch, Generated, QuantizeSpec, generate_quantizer};

use super::bake::Bakeable;
use super::fields::Spanned;

/// A kernel that quantizes, and the targets that can run it.
pub(super) struct Quantizer {
    spec: QuantizeSpec,
    targets: Vec<Arch>,
}

/// Every kernel that some target runs.
pub(super) fn for_targets(targets: &[Spanned<Arch>]) -> Vec<Quantizer> {
    let runs = |spec: QuantizeSpec| {
        let runs = |target: &Arch| target.executes(spec.arch());
        let targets: Vec<Arch> = targets.iter().map(|target| target.value).filter(runs).collect();
        (!targets.is_empty()).then_some(Quantizer { spec, targets })
    };
    QuantizeSpec::all().filter_map(runs).collect()
}

impl Bakeable for Quantizer {
    fn generate(&self) -> Generated {
        generate_quantizer(&self.spec)
    }

    fn targets(&self) -> &[Arch] {
        &self.targets
    }
}
