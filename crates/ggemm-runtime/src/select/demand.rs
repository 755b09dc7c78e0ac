//! What a problem demands of a variant, and which of it a variant does not meet.

use ggemm_codegen::cost::{Sizes, Spread};
use ggemm_codegen::ir::Unaddressable;
use ggemm_codegen::{
    Arch, Contract, Contraction, Dtype, KernelSpec, Major, Operation, Problem, Ragged, Scaling, TensorShape, ValidSpec,
    Violation,
};
use ggemm_table::Routing;

use super::Rule;
use super::variant::{Family, Variant};

/// A demand of a problem that a variant does not meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unmet {
    /// It is for another kind of product.
    #[error("its groups divide the {}, those of {operation} divide the {}", dimension(*takes), dimension(other(*takes)))]
    Ragged {
        /// What the groups divide in the variant.
        takes: Ragged,
        /// The problem's operation.
        operation: Operation,
    },
    /// It reads an operand that lies otherwise in memory.
    #[error("it reads {tensor} as contiguous along {}, and that is contiguous along {}", direction(*takes, side), direction(turned(*takes), side))]
    Layout {
        /// The operand's name in the operation.
        tensor: &'static str,
        /// The operand's dimension beside the reduction, in the problem's letters.
        side: &'static str,
        /// How the variant takes it.
        takes: Major,
    },
    /// It takes or writes another type.
    #[error("it {verb} {takes}, and {tensor} holds {holds}")]
    Dtype {
        /// `multiplies` or `writes`.
        verb: &'static str,
        /// The tensor's name in the operation.
        tensor: &'static str,
        /// The variant's type.
        takes: Dtype,
        /// The tensor's type.
        holds: Dtype,
    },
    /// The architecture cannot run it.
    #[error("{arch} cannot run it: {}", join(violations))]
    Target {
        /// The architecture.
        arch: Arch,
        /// The rules that it breaks there.
        violations: Vec<Violation>,
    },
    /// It copies more bytes at a time than the strides allow.
    #[error(
        "it needs every row at a multiple of {needed} bytes, and the {what} stride of {tensor} is {stride} elements, {} bytes",
        stride.saturating_mul(dtype.size_bytes() as usize)
    )]
    Alignment {
        /// The alignment that it needs, in bytes.
        needed: u32,
        /// The tensor's name in the operation.
        tensor: &'static str,
        /// `row` or `group`.
        what: &'static str,
        /// That stride, in elements.
        stride: usize,
        /// The elements' type.
        dtype: Dtype,
    },
    /// Others do on the architecture all that it does, faster; it computes the problem if it is pinned.
    #[error("on {arch}, others do all that it does, faster")]
    Outdone {
        /// The architecture.
        arch: Arch,
    },
    /// It copies by tensor maps, and none leads to a tensor.
    #[error("it copies {tensor} by a tensor map: {reason}")]
    TensorMap {
        /// The tensor's name in the operation.
        tensor: &'static str,
        /// Why none leads there.
        reason: Unaddressable,
    },
    /// It has no masks for a last block of the reduction that is not whole.
    #[error("its reduction is a multiple of {block}, and {dimension} = {value} is not")]
    EvenReduction {
        /// The depth of its blocks.
        block: u32,
        /// The reduction's letter.
        dimension: &'static str,
        /// Its length.
        value: usize,
    },
    /// It applies scales to other elements.
    #[error("it takes scales of each {takes}, and those given are of each {given}")]
    Scaling {
        /// The variant's.
        takes: Scaling,
        /// The problem's.
        given: Scaling,
    },
    /// It leaves sums in the tensor cores' accumulator.
    #[error(
        "its sums stay in the tensor cores' accumulator, which the problem does not allow (Problem::fast_accumulation)"
    )]
    Accumulation,
    /// What it divides of a row's reduction is decided by how many tiles there are.
    #[error("how it sums up a row depends on how many rows there are (stream-K), and the choice is batch-invariant")]
    BatchInvariance,
    /// No kernel set of the planner holds it.
    #[error(
        "no kernel set of the planner holds it (bake it with kernels! {{ specs: [\"…\"] }}, and pass the set to Planner::with)"
    )]
    NotBaked,
}

fn dimension(ragged: Ragged) -> &'static str {
    match ragged {
        Ragged::Rows => "rows",
        Ragged::Reduction => "reduction",
    }
}

fn other(ragged: Ragged) -> Ragged {
    match ragged {
        Ragged::Rows => Ragged::Reduction,
        Ragged::Reduction => Ragged::Rows,
    }
}

fn direction(major: Major, side: &'static str) -> &'static str {
    match major {
        Major::K => "the reduction",
        Major::Mn => side,
    }
}

fn turned(major: Major) -> Major {
    match major {
        Major::K => Major::Mn,
        Major::Mn => Major::K,
    }
}

fn join(violations: &[Violation]) -> String {
    violations.iter().map(Violation::to_string).collect::<Vec<_>>().join(", and ")
}

/// Why no kernel multiplies the fp8 operands of a problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fp8Unmet {
    /// The architecture is older than fp8.
    #[error("fp8 needs sm_89 or newer: use bf16 or f16 operands, or Device::cpu()")]
    Target,
    /// An operand does not lie along the reduction.
    #[error("fp8 tensor cores read {tensor} along {letter}, and it lies along {side}: {remedy}")]
    Across {
        /// The operand's name in the operation.
        tensor: &'static str,
        /// The reduction's letter.
        letter: &'static str,
        /// The letter of its other dimension.
        side: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Strides or extents that copies of 16 bytes, or the copy engine, do not take.
    #[error("{unmet}: {}", strides_remedy(unmet))]
    Copies {
        /// What is not met.
        unmet: Unmet,
    },
    /// No kernel set has one.
    #[error("no kernel set has one: bake it with kernels! {{ specs: [\"…\"] }}, and pass the set to Planner::with")]
    NotBaked,
}

fn strides_remedy(unmet: &Unmet) -> &'static str {
    match unmet {
        Unmet::Alignment { .. } => "give strides that are multiples of 16 bytes, or use bf16 or f16 operands",
        _ => "give rows that are multiples of 16 bytes, or use bf16 or f16 operands",
    }
}

/// What the cost model makes of a routing. Of one group that has nearly all rows it knows nothing.
pub(super) fn spread(routing: Routing) -> Spread {
    match routing {
        Routing::Even => Spread::Even,
        Routing::Skewed | Routing::Single => Spread::Routed,
    }
}

/// A problem on an architecture, as far as variants differ in it.
pub(super) struct Demand {
    pub(super) arch: Arch,
    pub(super) contraction: Contraction,
    pub(super) sizes: Sizes,
    operation: Operation,
    scaling: Scaling,
    batch_invariant: bool,
}

impl Demand {
    pub(super) fn new(problem: &Problem, arch: Arch, rule: Rule, routing: Routing) -> Self {
        let contraction = problem.contraction();
        let batch_invariant = rule == Rule::BatchInvariant;
        let Problem { operation, scaling, .. } = *problem;
        let sizes = Sizes::of(&contraction, spread(routing));
        Demand { arch, contraction, sizes, operation, scaling, batch_invariant }
    }

    /// The same of other tensors, of as many groups with as many rows.
    pub(super) fn of(&self, contraction: Contraction) -> Self {
        Demand { contraction, ..*self }
    }

    /// The variants that are for this kind of product.
    pub(super) fn family(&self) -> Family {
        let Contraction { ragged, a_major, b_major, output, ref a, ref b, .. } = self.contraction;
        Family { ragged, a_major, b_major, operands: [a.dtype, b.dtype], scaling: self.scaling, output }
    }

    /// Whether `variant`, which is of the family, can compute the problem.
    pub(super) fn met_by(&self, variant: &Variant) -> bool {
        variant.runs_on(self.arch)
            && self.strides_unmet(variant.contract().alignments()).is_none()
            && self.maps_unmet(variant.contract()).is_none()
            && self.is_even(variant.spec())
            && self.is_exact(variant.spec())
            && self.is_invariant(variant.spec())
    }

    /// Why none of `family`, which is that of the problem, multiplies its fp8 operands.
    pub(super) fn fp8_unmet(&self, family: impl Iterator<Item = &'static Variant>) -> Fp8Unmet {
        if !self.arch.executes(Arch::Sm89) {
            return Fp8Unmet::Target;
        }
        let c = &self.contraction;
        let across = [(&c.a, c.a_major), (&c.b, c.b_major)].into_iter().zip(self.sides());
        if let Some(((tensor, _), side)) = across.into_iter().find(|((_, major), _)| *major == Major::Mn) {
            let remedy = match self.operation {
                Operation::Forward => "pass a [G, N, K] copy of the weights",
                Operation::GradX => "pass a [G, K, N] copy of the weights",
                Operation::GradW => "set Problem::reduction_blocks, and pass copies as Quantizer makes them",
            };
            return Fp8Unmet::Across { tensor: tensor.name, letter: self.reduction().0, side, remedy };
        }
        let unmet = family.map(|v| self.unmet(v.spec(), Some(v.contract())));
        match unmet.flatten().find(|u| matches!(u, Unmet::Alignment { .. } | Unmet::TensorMap { .. })) {
            Some(unmet) => Fp8Unmet::Copies { unmet },
            None => Fp8Unmet::NotBaked,
        }
    }

    /// The first demand that a kernel of this spec does not meet; of one that is not baked, there is no contract.
    pub(super) fn unmet(&self, spec: &KernelSpec, contract: Option<&Contract>) -> Option<Unmet> {
        let alignment = contract.map_or_else(|| spec.required_alignment(), Contract::alignments);
        let uneven = || {
            let (dimension, value) = self.reduction();
            (!self.is_even(spec)).then_some(Unmet::EvenReduction { block: spec.tile.k, dimension, value })
        };
        self.family_unmet(spec)
            .or_else(|| self.target_unmet(spec))
            .or_else(|| self.strides_unmet(alignment))
            .or_else(|| self.maps_unmet(contract?))
            .or_else(uneven)
            .or_else(|| (!self.is_exact(spec)).then_some(Unmet::Accumulation))
            .or_else(|| (!self.is_invariant(spec)).then_some(Unmet::BatchInvariance))
    }

    /// The first tensor that no tensor map of the contract leads to.
    fn maps_unmet(&self, contract: &Contract) -> Option<Unmet> {
        contract.maps(&self.contraction).find_map(|mapped| {
            let reason = mapped.unaddressable()?;
            Some(Unmet::TensorMap { tensor: mapped.tensor.name, reason })
        })
    }

    fn family_unmet(&self, spec: &KernelSpec) -> Option<Unmet> {
        let c = &self.contraction;
        if spec.ragged != c.ragged {
            return Some(Unmet::Ragged { takes: spec.ragged, operation: self.operation });
        }
        let [a_side, b_side] = self.sides();
        for (tensor, side, takes, lies) in
            [(c.a.name, a_side, spec.a_major, c.a_major), (c.b.name, b_side, spec.b_major, c.b_major)]
        {
            if takes != lies {
                return Some(Unmet::Layout { tensor, side, takes });
            }
        }
        for (tensor, takes) in [&c.a, &c.b].into_iter().zip(spec.operands()) {
            if takes != tensor.dtype {
                let (tensor, holds) = (tensor.name, tensor.dtype);
                return Some(Unmet::Dtype { verb: "multiplies", tensor, takes, holds });
            }
        }
        if spec.scaling != self.scaling {
            return Some(Unmet::Scaling { takes: spec.scaling, given: self.scaling });
        }
        (spec.output != c.output).then_some(Unmet::Dtype {
            verb: "writes",
            tensor: c.d.name,
            takes: spec.output,
            holds: c.output,
        })
    }

    fn target_unmet(&self, spec: &KernelSpec) -> Option<Unmet> {
        let violations = ValidSpec::new(*spec, self.arch).err()?;
        Some(Unmet::Target { arch: self.arch, violations })
    }

    /// `needed`: of rows of operands, and of rows of D.
    fn strides_unmet(&self, [operands, d]: [u32; 2]) -> Option<Unmet> {
        let c = &self.contraction;
        let tensors = [(&c.a, operands), (&c.b, operands), (&c.d, d)];
        let (shape, needed) = tensors.into_iter().find(|(t, needed)| t.stride_alignment() < *needed)?;
        let TensorShape { name: tensor, dtype, groups, row_stride, group_stride, .. } = *shape;
        let alone = TensorShape { groups: 1, ..*shape };
        let (what, stride) = if groups > 1 && alone.stride_alignment() >= needed {
            ("group", group_stride)
        } else {
            ("row", row_stride)
        };
        Some(Unmet::Alignment { needed, tensor, what, stride, dtype })
    }

    fn is_even(&self, spec: &KernelSpec) -> bool {
        let whole = self.contraction.reduction.is_multiple_of(spec.tile.k.max(1) as usize);
        !spec.even_k || (spec.ragged == Ragged::Rows && whole)
    }

    /// Whether the variant keeps sums as exactly as the problem asks for.
    fn is_exact(&self, spec: &KernelSpec) -> bool {
        spec.accumulation >= self.contraction.accumulation
    }

    /// Whether the variant sums up a row as it does whatever other rows there are, if that is asked for.
    fn is_invariant(&self, spec: &KernelSpec) -> bool {
        !(self.batch_invariant && spec.stream_k)
    }

    /// The letter of the reduction, and its length.
    fn reduction(&self) -> (&'static str, usize) {
        let letter = match self.operation {
            Operation::Forward => "K",
            Operation::GradX => "N",
            Operation::GradW => "M",
        };
        (letter, self.contraction.reduction)
    }

    /// The letters of the operands' dimensions beside the reduction.
    fn sides(&self) -> [&'static str; 2] {
        match (self.operation, self.contraction.operands_exchanged) {
            (Operation::Forward, _) => ["M", "N"],
            (Operation::GradX, _) => ["M", "K"],
            (Operation::GradW, false) => ["N", "K"],
            (Operation::GradW, true) => ["K", "N"],
        }
    }
}
