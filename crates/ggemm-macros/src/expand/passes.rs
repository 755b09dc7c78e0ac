//! Kernels of passes before products, which a request takes all together: those that quantize, and those that copy operands
//! to aligned rows.

use ggemm_codegen::{Arch, Generated, QuantizeSpec, RealignSpec, generate_quantizer, generate_realigner};

use super::bake::Bakeable;
use super::fields::Spanned;

/// Which passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passes {
    /// All that quantize.
    Quantizers,
    /// All that realign.
    Realigners,
}

/// A kernel of a pass, and the targets that can run it.
pub(super) struct Pass {
    spec: Spec,
    targets: Vec<Arch>,
}

#[derive(Clone, Copy)]
enum Spec {
    Quantize(QuantizeSpec),
    Realign(RealignSpec),
}

impl Spec {
    fn all(of: Passes) -> Vec<Spec> {
        match of {
            Passes::Quantizers => QuantizeSpec::all().map(Spec::Quantize).collect(),
            Passes::Realigners => RealignSpec::all().map(Spec::Realign).collect(),
        }
    }

    fn arch(&self) -> Arch {
        match self {
            Spec::Quantize(spec) => spec.arch(),
            Spec::Realign(spec) => spec.arch(),
        }
    }
}

/// Every kernel that some target runs.
pub(super) fn for_targets(of: Passes, targets: &[Spanned<Arch>]) -> Vec<Pass> {
    let runs = |spec: Spec| {
        let runs = |target: &Arch| target.executes(spec.arch());
        let targets: Vec<Arch> = targets.iter().map(|target| target.value).filter(runs).collect();
        (!targets.is_empty()).then_some(Pass { spec, targets })
    };
    Spec::all(of).into_iter().filter_map(runs).collect()
}

impl Bakeable for Pass {
    fn generate(&self) -> Generated {
        match &self.spec {
            Spec::Quantize(spec) => generate_quantizer(spec),
            Spec::Realign(spec) => generate_realigner(spec),
        }
    }

    fn targets(&self) -> &[Arch] {
        &self.targets
    }
}
