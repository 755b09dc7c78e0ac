//! From a request to the variants that answer it.

use ggemm_codegen::{
    Arch, CopyPath, Dtype, Generated, KernelSpec, Operation, Problem, Ragged, Tile, ValidSpec, Violation, WeightLayout,
    catalogue, constraints, generate,
};

use super::bake::Bakeable;
use super::errors::Errors;
use super::fields::Spanned;
use super::request::{Kernels, Purpose, Request, Shape, Tiles};
use super::tile;

/// A variant, and the targets that can run it.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub(super) spec: ValidSpec,
    pub(super) targets: Vec<Arch>,
}

impl Bakeable for Variant {
    fn generate(&self) -> Generated {
        generate(&self.spec)
    }

    fn targets(&self) -> &[Arch] {
        &self.targets
    }
}

impl Variant {
    /// For every target that runs it; `None`: there is none.
    fn new(spec: KernelSpec, targets: &[Spanned<Arch>]) -> Option<Self> {
        Self::on(targets, |target| ValidSpec::new(spec, target).ok())
    }

    /// For every target that the catalogue has it for; `None`: there is none.
    fn shipped(spec: KernelSpec, targets: &[Spanned<Arch>]) -> Option<Self> {
        Self::on(targets, |target| catalogue::for_target(spec, target))
    }

    fn on(targets: &[Spanned<Arch>], legal: impl Fn(Arch) -> Option<ValidSpec>) -> Option<Self> {
        let legal: Vec<ValidSpec> = targets.iter().filter_map(|target| legal(target.value)).collect();
        let targets = legal.iter().map(ValidSpec::target).collect();
        legal.first().map(|spec| Variant { spec: *spec, targets })
    }
}

/// The variants that answer `request`, in a fixed order, none twice.
pub(super) fn select(request: &Request, errors: &mut Errors) -> Vec<Variant> {
    match &request.kernels {
        Kernels::Named(specs) => named(specs, &request.targets, errors),
        Kernels::Shipped => {
            catalogue::shipped().into_iter().filter_map(|spec| Variant::shipped(spec, &request.targets)).collect()
        }
        Kernels::Tuned(table) => tuned(&table.variants, &request.targets, errors),
        Kernels::Quantizers => Vec::new(),
        Kernels::For(purpose) => for_purpose(purpose, &request.targets, errors),
    }
}

fn named(specs: &[Spanned<KernelSpec>], targets: &[Spanned<Arch>], errors: &mut Errors) -> Vec<Variant> {
    let mut variants = Vec::new();
    for spec in specs {
        match Variant::new(spec.value, targets) {
            Some(variant) => variants.push(variant),
            None => {
                let target = targets.first().map_or(Arch::Sm80, |target| target.value);
                let violations = constraints::check(&spec.value, target);
                errors.at(spec.span, format!("no target runs this kernel; on {target}:\n{}", explain(&violations)));
            }
        }
    }
    variants
}

/// What a table names, each for the architectures that it was measured on.
fn tuned(variants: &[(KernelSpec, Vec<Arch>)], targets: &[Spanned<Arch>], errors: &mut Errors) -> Vec<Variant> {
    let mut chosen = Vec::new();
    for (spec, measured) in variants {
        let on: Vec<Spanned<Arch>> =
            targets.iter().filter(|target| measured.contains(&target.value)).copied().collect();
        match (Variant::new(*spec, &on), on.first()) {
            (Some(variant), _) => chosen.push(variant),
            (None, Some(target)) => {
                let violations = constraints::check(spec, target.value);
                let message =
                    format!("the table names {spec}, which {} does not run:\n{}", target.value, explain(&violations));
                errors.at(target.span, message);
            }
            (None, None) => {}
        }
    }
    chosen
}

/// Every violation with its rule.
fn explain(violations: &[Violation]) -> String {
    let lines: Vec<String> =
        violations.iter().map(|violation| format!("{violation}\n({})", violation.rule.sentence())).collect();
    lines.join("\n")
}

/// One kind of product that is asked for: the fields of a spec that do not say how it is computed.
struct Need {
    /// Those fields, in the variant that takes any strides.
    form: KernelSpec,
    /// An operation that needs it, for messages.
    operation: Operation,
    /// The sizes that are known, one entry for each operation that needs it; empty when none are.
    extents: Vec<Extent>,
}

/// What the shape says about one contraction.
#[derive(Clone, Copy)]
struct Extent {
    /// Rows of D, where groups do not divide them.
    rows: Option<usize>,
    /// Columns of D.
    cols: usize,
    /// The length of the reduction, where groups do not divide it.
    reduction: Option<usize>,
    /// The alignment of rows in bytes when they are dense.
    alignment: u32,
}

impl Extent {
    fn runs(&self, spec: &KernelSpec) -> bool {
        let even = !spec.even_k || self.is_even(spec.tile);
        even && self.aligned(spec)
    }

    fn aligned(&self, spec: &KernelSpec) -> bool {
        spec.required_alignment() <= self.alignment
    }

    fn is_even(&self, tile: Tile) -> bool {
        self.reduction.is_some_and(|reduction| reduction.is_multiple_of(tile.k as usize))
    }

    /// Less than half of the tile lies outside D.
    fn suits(&self, tile: Tile) -> bool {
        let fills = |side: u32, extent: usize| (side as usize) < 2 * extent;
        fills(tile.n, self.cols) && self.rows.is_none_or(|rows| fills(tile.m, rows))
    }
}

impl Need {
    fn is_for(&self, spec: &KernelSpec) -> bool {
        let key = |s: &KernelSpec| (s.ragged, s.a_major, s.b_major, s.operands(), s.accumulator, s.output);
        key(spec) == key(&self.form)
    }

    /// Some dense problem of the shape can use `spec`.
    fn runs(&self, spec: &KernelSpec) -> bool {
        self.extents.is_empty() || self.extents.iter().any(|extent| extent.runs(spec))
    }

    /// Every dense problem of the shape can have its rows copied as `spec` does it.
    fn aligned(&self, spec: &KernelSpec) -> bool {
        !self.extents.is_empty() && self.extents.iter().all(|extent| extent.aligned(spec))
    }

    /// Those whose tiles suit the shape, or the smallest where it is narrower than every tile.
    fn suiting(&self, specs: Vec<KernelSpec>) -> Vec<KernelSpec> {
        let suits =
            |spec: &KernelSpec| self.extents.is_empty() || self.extents.iter().any(|extent| extent.suits(spec.tile));
        let area = |spec: &KernelSpec| spec.tile.m * spec.tile.n;
        let any = specs.iter().any(suits);
        let least = specs.iter().map(area).min().unwrap_or_default();
        specs.into_iter().filter(|spec| if any { suits(spec) } else { area(spec) == least }).collect()
    }

    /// The ways to copy that a tile listed by hand is wanted in.
    fn forms(&self, tile: Tile) -> Vec<KernelSpec> {
        let asynchronous = KernelSpec { copy: CopyPath::CpAsync, tile, ..self.form };
        let rows = self.form.ragged == Ragged::Rows;
        let mut forms = Vec::new();
        for extent in &self.extents {
            forms.push(match extent.aligned(&asynchronous) {
                true => KernelSpec { even_k: extent.is_even(tile), ..asynchronous },
                false => KernelSpec { copy: CopyPath::Plain, even_k: false, tile, ..self.form },
            });
        }
        if self.extents.is_empty() {
            forms.extend(rows.then_some(KernelSpec { even_k: true, ..asynchronous }));
            forms.push(KernelSpec { even_k: false, ..asynchronous });
        }
        forms.dedup();
        forms
    }

    /// The catalogue's variants of a listed tile that copy by TMA, beside the one that every architecture can have.
    fn hoppers<'a>(&'a self, tile: Tile, shipped: &'a [KernelSpec]) -> impl Iterator<Item = KernelSpec> + 'a {
        let of_tile = move |s: &&KernelSpec| s.tile == tile && s.copy == CopyPath::Tma;
        shipped.iter().filter(of_tile).filter(|s| self.is_for(s) && self.runs(s)).copied()
    }

    fn describe(&self) -> String {
        format!("{} {} -> {}", self.operation, self.form.operand, self.form.output)
    }
}

fn for_purpose(purpose: &Purpose, targets: &[Spanned<Arch>], errors: &mut Errors) -> Vec<Variant> {
    let needs = needs(purpose);
    let shipped = catalogue::shipped();
    let mut specs = match &purpose.tiles {
        Tiles::Auto => from_catalogue(&needs, &shipped, true),
        Tiles::Shipped => from_catalogue(&needs, &shipped, false),
        Tiles::Listed(tiles) => from_tiles(&needs, tiles, &shipped, targets, errors),
    };
    for need in &needs {
        if lacks_plain(need, &specs, targets) {
            specs.push(need.form);
        }
    }
    let mut variants: Vec<Variant> = Vec::new();
    for spec in specs {
        if !variants.iter().any(|known| *known.spec.spec() == spec) {
            variants.extend(match &purpose.tiles {
                Tiles::Auto | Tiles::Shipped => Variant::shipped(spec, targets),
                Tiles::Listed(_) => Variant::new(spec, targets),
            });
        }
    }
    for target in targets {
        for need in &needs {
            let served = |v: &Variant| need.is_for(&v.spec) && v.targets.contains(&target.value);
            if !variants.iter().any(served) && errors.count() == 0 {
                errors.at(target.span, format!("{} runs none of the kernels for {}", target.value, need.describe()));
            }
        }
    }
    variants
}

/// What is asked for, each kind of product once.
fn needs(purpose: &Purpose) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for operand in &purpose.operands {
        for operation in &purpose.operations {
            for output in outputs(purpose, *operand, *operation) {
                for weights in &purpose.weights {
                    add_need(&mut needs, purpose.shape, *operation, *operand, output, *weights);
                }
            }
        }
    }
    needs
}

fn outputs(purpose: &Purpose, operand: Dtype, operation: Operation) -> Vec<Dtype> {
    match &purpose.outputs {
        Some(outputs) => outputs.clone(),
        None => [operand].into_iter().chain((operation == Operation::GradW).then_some(Dtype::F32)).collect(),
    }
}

fn add_need(
    needs: &mut Vec<Need>,
    shape: Option<Shape>,
    operation: Operation,
    operand: Dtype,
    output: Dtype,
    weights: WeightLayout,
) {
    // Two rows and groups at least, or strides would not count.
    let Shape { n, k } = shape.unwrap_or(Shape { n: 1, k: 1 });
    let problem = Problem::new(operation, 2, 2, n, k).operand(operand).output(output).weight_layout(weights);
    let form = form_of(&problem);
    let contraction = problem.contraction();
    let rows = contraction.ragged == Ragged::Rows;
    let extent = Extent {
        rows: (!rows).then_some(contraction.rows),
        cols: contraction.cols,
        reduction: rows.then_some(contraction.reduction),
        alignment: contraction.stride_alignment(),
    };
    let index = needs.iter().position(|need| need.is_for(&form)).unwrap_or_else(|| {
        needs.push(Need { form, operation, extents: Vec::new() });
        needs.len() - 1
    });
    if shape.is_some() {
        needs[index].extents.push(extent);
    }
}

/// The plain variant of a problem's kernels: it runs whatever the strides are.
fn form_of(problem: &Problem) -> KernelSpec {
    let contraction = problem.contraction();
    catalogue::plain((contraction.ragged, contraction.b_major), (contraction.operand, contraction.output))
}

/// What of the catalogue can run; with `choose` only what suits the shape.
fn from_catalogue(needs: &[Need], shipped: &[KernelSpec], choose: bool) -> Vec<KernelSpec> {
    let mut specs = Vec::new();
    for need in needs {
        let runs = |spec: &&KernelSpec| need.is_for(spec) && need.runs(spec);
        let running: Vec<KernelSpec> = shipped.iter().filter(runs).copied().collect();
        let wanted = |spec: &&KernelSpec| {
            // Masks that the shape never needs.
            let twin = KernelSpec { even_k: true, ..**spec };
            let masks_in_vain = !spec.even_k
                && running.contains(&twin)
                && !need.extents.is_empty()
                && need.extents.iter().all(|extent| extent.runs(&twin));
            // One plain variant stays, for strides that are not dense.
            let asynchronous = KernelSpec { copy: CopyPath::CpAsync, ..**spec };
            let plain_in_vain = choose && spec.copy == CopyPath::Plain && need.aligned(&asynchronous);
            !masks_in_vain && !plain_in_vain
        };
        let wanted = running.iter().filter(wanted).copied();
        // Targets that copy by TMA and those that cannot each get tiles of their own.
        let (tma, others): (Vec<_>, Vec<_>) = wanted.partition(|spec| spec.copy == CopyPath::Tma);
        for wanted in [tma, others] {
            specs.extend(if choose { need.suiting(wanted) } else { wanted });
        }
    }
    specs
}

/// The listed tiles for all needs, on every target that has a legal variant of them.
fn from_tiles(
    needs: &[Need],
    tiles: &[Spanned<Tile>],
    shipped: &[KernelSpec],
    targets: &[Spanned<Arch>],
    errors: &mut Errors,
) -> Vec<KernelSpec> {
    let mut specs = Vec::new();
    for listed in tiles {
        match fit_all(needs, listed.value, shipped, targets) {
            Ok(found) => {
                specs.extend(found.into_iter().map(|found| *found.spec()));
                specs.extend(needs.iter().flat_map(|need| need.hoppers(listed.value, shipped)));
            }
            Err(Misfit { need, target, violations }) => {
                let mut message = format!(
                    "no target can have the tile {} for {}; on {target}:\n{}",
                    tile::name(listed.value),
                    need.describe(),
                    explain(&violations)
                );
                if let Some(near) = tile::nearest(listed.value, |near| fit_all(needs, near, shipped, targets).is_ok()) {
                    message += &format!("\nthe nearest legal tile is {}", tile::name(near));
                }
                errors.at(listed.span, message);
            }
        }
    }
    let Some(first) = tiles.first() else { return specs };
    for target in targets {
        let alone = std::slice::from_ref(target);
        let fits = |tile: Tile| fit_all(needs, tile, shipped, alone).is_ok();
        if errors.count() == 0 && !tiles.iter().any(|listed| fits(listed.value)) {
            let mut message = format!("{} runs none of the listed tiles", target.value);
            if let Some(near) = tile::nearest(first.value, fits) {
                message += &format!("; nearest: {}", tile::name(near));
            }
            errors.at(target.span, message);
        }
    }
    specs
}

/// Why a tile cannot serve a need.
struct Misfit<'a> {
    need: &'a Need,
    target: Arch,
    violations: Vec<Violation>,
}

/// Variants of `tile` for all needs; each has one on some target at least.
fn fit_all<'a>(
    needs: &'a [Need],
    tile: Tile,
    shipped: &[KernelSpec],
    targets: &[Spanned<Arch>],
) -> Result<Vec<ValidSpec>, Misfit<'a>> {
    let mut all = Vec::new();
    for need in needs {
        for form in need.forms(tile) {
            let mut misfit = None;
            let before = all.len();
            for target in targets {
                match tile::fit(form, tile, target.value, shipped) {
                    Ok(found) => all.push(found),
                    Err(violations) => {
                        misfit.get_or_insert(Misfit { need, target: target.value, violations });
                    }
                }
            }
            if let Some(misfit) = misfit.filter(|_| all.len() == before) {
                return Err(misfit);
            }
        }
    }
    Ok(all)
}

/// Whether a target has no plain variant of a kind of product, so that it would refuse some strides.
fn lacks_plain(need: &Need, chosen: &[KernelSpec], targets: &[Spanned<Arch>]) -> bool {
    let plain = |spec: &&KernelSpec| need.is_for(spec) && spec.copy == CopyPath::Plain;
    let legal =
        |target: &Spanned<Arch>| chosen.iter().filter(plain).any(|spec| ValidSpec::new(*spec, target.value).is_ok());
    !targets.iter().all(legal)
}
