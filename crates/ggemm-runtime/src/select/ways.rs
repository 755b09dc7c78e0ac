//! The ways in which a variant can compute a problem: on the operands as they lie, or on copies with aligned rows.

use ggemm_codegen::kernels::realign::Realigned;
use ggemm_codegen::{Arch, Contract, CopyPath, KernelSpec, Problem, cost};
use ggemm_table::Routing;

use super::demand::{Demand, Unmet};
use super::variant::Variant;
use super::{Candidate, Rule};

/// A problem's demands, of operands as they lie and of copies.
pub(super) struct Ways {
    pub(super) direct: Demand,
    copying: Option<Copying>,
}

/// Copies of operands, and what is then demanded.
struct Copying {
    realigned: Realigned,
    demand: Demand,
    /// What making them takes.
    seconds: f64,
}

impl Ways {
    /// Copies are made where the copy engine cannot address operands as they lie, for products that it moves, and take no
    /// more than so many bytes.
    pub(super) fn new(problem: &Problem, arch: Arch, rule: Rule, copy_limit: usize, routing: Routing) -> Self {
        let direct = Demand::new(problem, arch, rule, routing);
        let contraction = &direct.contraction;
        let realigned = Realigned::needed(contraction);
        let is_possible = |r: &Realigned| arch == Arch::Sm90a && r.bytes(contraction) <= copy_limit;
        let copying = realigned.filter(is_possible).map(|realigned| Copying {
            realigned,
            demand: direct.of(realigned.product(contraction)),
            seconds: realigned.tasks(contraction).map(|task| cost::predict_realign(&task, contraction, arch)).sum(),
        });
        Ways { direct, copying }
    }

    /// The variant, if it can compute the problem in one of them, which is on operands as they lie where it can.
    pub(super) fn candidate(&self, variant: &'static Variant) -> Option<Candidate> {
        self.first(variant, |demand| demand.met_by(variant))
    }

    /// The same of a variant that the caller chose, even if others do all that it does faster.
    pub(super) fn pinned(&self, variant: &'static Variant) -> Option<Candidate> {
        self.first(variant, |demand| demand.unmet(variant.spec(), Some(variant.contract())).is_none())
    }

    fn first(&self, variant: &'static Variant, meets: impl Fn(&Demand) -> bool) -> Option<Candidate> {
        let predict = |demand: &Demand| {
            let Demand { contraction, sizes, arch, .. } = demand;
            cost::predict(variant.spec(), variant.contract(), contraction, sizes, *arch)
        };
        if meets(&self.direct) {
            let prediction = predict(&self.direct);
            return Some(Candidate { variant, prediction, correction: 1.0, realigned: Realigned::NONE });
        }
        let copying = self.copying.as_ref().filter(|c| c.is_for(variant.spec()) && meets(&c.demand))?;
        let mut prediction = predict(&copying.demand);
        prediction.seconds += copying.seconds;
        Some(Candidate { variant, prediction, correction: 1.0, realigned: copying.realigned })
    }

    /// The first demand that a kernel of this spec does not meet in any of them.
    pub(super) fn unmet(&self, spec: &KernelSpec, contract: Option<&Contract>) -> Option<Unmet> {
        let unmet = self.direct.unmet(spec, contract)?;
        let copying = self.copying.as_ref().filter(|copying| copying.is_for(spec));
        copying.is_none_or(|copying| copying.demand.unmet(spec, contract).is_some()).then_some(unmet)
    }
}

impl Copying {
    fn is_for(&self, spec: &KernelSpec) -> bool {
        spec.copy == CopyPath::Tma
    }
}
