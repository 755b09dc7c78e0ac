//! Choosing a variant: what holds for every problem and architecture. No GPU is needed.

use ggemm_runtime::tune::{Routing, Table};
use ggemm_runtime::verify::{Extent, Scenario};
use ggemm_runtime::{
    Arch, Candidate, CopyPath, Device, Dtype, Error, KernelSpec, Operation, Planner, Problem, Realigned, Selection,
    Unmet, WeightLayout, WeightSharing,
};
use proptest::prelude::*;
use proptest::sample::select;

ggemm_runtime::kernels! {
    /// Kernels that the catalogue has too.
    mod mine {
        ops: [forward],
        dtypes: [bf16],
        arch: [sm_80, sm_90a],
        shape: { n: 1536, k: 2048 },
    }
}

ggemm_runtime::kernels! {
    /// A tile that the catalogue lacks.
    mod odd {
        ops: [forward],
        dtypes: [bf16],
        arch: [sm_80],
        tiles: [64x64x64],
    }
}

fn planner() -> Planner {
    Planner::new(Device::cpu())
}

fn spec(selection: &Selection) -> KernelSpec {
    *selection.preferred().variant.spec()
}

/// Even and uneven, aligned and not, empty and narrow.
fn extent() -> impl Strategy<Value = usize> {
    prop_oneof![0..4usize, 1..3000usize, (0..400usize).prop_map(|x| x * 8), (0..50usize).prop_map(|x| x * 64)]
}

fn padding() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![3 => Just(None), 1 => (0..9usize).prop_map(Some), 1 => (0..5usize).prop_map(|x| Some(x * 8))]
}

/// The padding of rows of x, y and w, and of the weights' groups.
type Paddings = (Option<usize>, Option<usize>, Option<usize>, Option<usize>);

fn build(kind: (Operation, Dtype, Dtype, WeightLayout, WeightSharing), sizes: [usize; 4], pads: Paddings) -> Problem {
    let (operation, operand, output, layout, sharing) = kind;
    let [groups, m, n, k] = sizes;
    let mut p = Problem::new(operation, groups, m, n, k).operand(operand).output(output);
    p = p
        .weight_layout(layout)
        .weight_sharing(sharing)
        .accumulate(operation == Operation::GradW && output == Dtype::F32);
    p.x_row_stride = pads.0.map(|pad| k + pad);
    p.y_row_stride = pads.1.map(|pad| n + pad);
    let (rows, cols) = p.weight_shape();
    p.w_row_stride = pads.2.map(|pad| cols + pad);
    p.w_group_stride = pads.3.map(|pad| rows * (cols + pads.2.unwrap_or(0)) + pad);
    p
}

prop_compose! {
    fn problem()(
        kind in (
            select(&Operation::ALL[..]),
            select(vec![Dtype::Bf16, Dtype::F16]),
            select(&Dtype::OUTPUTS[..]),
            select(vec![WeightLayout::Nk, WeightLayout::Kn]),
            select(vec![WeightSharing::PerExpert, WeightSharing::Shared]),
        ),
        groups in 1..300usize,
        m in extent(),
        n in extent(),
        k in extent(),
        pads in (padding(), padding(), padding(), padding()),
    ) -> Problem {
        build(kind, [groups, m, n, k], pads)
    }
}

fn arch() -> impl Strategy<Value = Arch> {
    select(&Arch::ALL[..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_problem_has_a_variant_that_can_compute_it(p in problem(), arch in arch(), invariant: bool) {
        let selection = planner().batch_invariant(invariant).select(&p, arch)?;
        let c = p.contraction();
        for candidate in [selection.preferred(), selection.fallback().expect("the catalogue has a plain variant")] {
            let (variant, spec) = (candidate.variant, *candidate.variant.spec());
            prop_assert_eq!((spec.ragged, spec.a_major, spec.b_major), (c.ragged, c.a_major, c.b_major));
            prop_assert_eq!((spec.operand, spec.output), (c.operand, c.output));
            prop_assert!(variant.runs_on(arch) && ggemm_codegen::ValidSpec::new(spec, arch).is_ok());
            // Of what it multiplies: copies have aligned rows.
            let product = candidate.realigned.product(&c);
            let [operands, d] = variant.contract().alignments();
            prop_assert!(product.a.stride_alignment().min(product.b.stride_alignment()) >= operands);
            prop_assert!(c.d.stride_alignment() >= d);
            prop_assert!(!spec.even_k || c.reduction.is_multiple_of(spec.tile.k as usize));
            prop_assert!(candidate.prediction.seconds.is_finite());
        }
        // Single elements are moved, and operands copied before, where nothing else will do, and only there.
        let explanation = planner().batch_invariant(invariant).explain(&p, arch)?;
        let is_ordinary = |c: &Candidate| {
            let spec = c.variant.spec();
            spec.copy != CopyPath::Plain && !spec.d_by_threads && c.realigned == Realigned::NONE
        };
        let another = explanation.candidates().iter().any(is_ordinary);
        prop_assert_eq!(is_ordinary(&selection.preferred()), another);
        prop_assert!(!another || c.stride_alignment() >= 16);
    }

    #[test]
    fn addresses_have_the_last_word(p in problem(), arch in arch(), address in 0..1u64 << 20) {
        let selection = planner().select(&p, arch)?;
        let name = |addresses: &[u64]| selection.for_addresses(addresses).map(|c| c.variant.name());
        prop_assert_eq!(name(&[0, 16, 4096]), Some(selection.preferred().variant.name()));
        let chosen = selection.for_addresses(&[4096, 2 * address, 16]).expect("no pin");
        let is_copied = chosen.realigned.b && chosen.variant.name() == selection.preferred().variant.name();
        prop_assert!(is_copied || (2 * address).is_multiple_of(u64::from(chosen.variant.contract().alignment)));
    }

    #[test]
    fn what_is_explained_is_what_is_chosen(p in problem(), arch in arch(), invariant: bool) {
        let planner = planner().batch_invariant(invariant);
        let (selection, explanation) = (planner.select(&p, arch)?, planner.explain(&p, arch)?);
        prop_assert_eq!(selection.choice(), explanation.selection().choice());
        prop_assert_eq!(explanation.candidates()[0].variant.name(), selection.preferred().variant.name());
        let text = explanation.to_string();
        for variant in explanation.candidates().iter().map(|c| c.variant).chain(explanation.left_out().iter().map(|l| l.0)) {
            prop_assert!(text.contains(variant.name()));
        }
    }

    /// A variant can be pinned exactly where it is a candidate; otherwise the nearest named can.
    #[test]
    fn pinning_round_trips(p in problem(), arch in arch(), index in any::<prop::sample::Index>()) {
        let pinned = *index.get(ggemm_runtime::catalogue::KERNELS.kernels);
        let pinned: KernelSpec = pinned.name.parse().expect("a spec");
        let explanation = planner().explain(&p, arch)?;
        let outdone = |unmet: &Unmet| matches!(unmet, Unmet::Outdone { .. });
        let left_out = explanation.left_out().iter().filter(|(_, unmet)| outdone(unmet)).map(|(variant, _)| *variant);
        let able = explanation.candidates().iter().map(|c| c.variant).chain(left_out).any(|v| *v.spec() == pinned);
        match planner().pin(pinned).select(&p, arch) {
            Ok(selection) => {
                prop_assert!(able);
                prop_assert_eq!(spec(&selection), pinned);
                prop_assert!(selection.to_string().starts_with("pinned; "));
                let any_address = selection.for_addresses(&[2]).is_some();
                prop_assert_eq!(any_address, pinned.copy == CopyPath::Plain || selection.preferred().realigned.a);
            }
            Err(Error::Pin(error)) => {
                prop_assert!(!able);
                prop_assert_eq!(error.spec, pinned);
                let nearest = error.nearest.expect("every problem has a variant");
                prop_assert_eq!(spec(&planner().pin(nearest).select(&p, arch)?), nearest);
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }

    #[test]
    fn a_batch_invariant_choice_knows_nothing_of_m_and_g(
        p in problem(), arch in arch(), groups in 1..5000usize, m in 0..1_000_000usize,
    ) {
        let planner = planner().batch_invariant(true);
        let mut other = p.clone();
        (other.groups, other.m) = (groups, m);
        let (first, second) = (planner.select(&p, arch)?, planner.select(&other, arch)?);
        prop_assert_eq!(first.choice(), second.choice());
        prop_assert!(!spec(&first).stream_k, "how many tiles there are decides how it sums");
        prop_assert_eq!(first.fallback().map(|c| c.variant.name()), second.fallback().map(|c| c.variant.name()));
    }

    #[test]
    fn a_callers_set_wins_ties(p in problem(), arch in arch()) {
        let (plain, with) = (planner().select(&p, arch)?, planner().with(&mine::KERNELS).select(&p, arch)?);
        prop_assert_eq!(spec(&plain), spec(&with));
        let known = mine::KERNELS.find(with.preferred().variant.name()).is_some();
        prop_assert_eq!(with.preferred().variant.set(), if known { "mine" } else { "shipped" });
        // What both sets hold is one candidate. Which variant is named as the next is a tie too, at times.
        let counted = |selection: &Selection| selection.to_string().split("; next: ").next().map(str::to_owned);
        prop_assert_eq!(counted(&plain), counted(&with));
    }
}

#[test]
fn sets_come_before_the_catalogue_in_the_order_given() {
    let p = Problem::forward(64, 8192, 1536, 2048);
    let first = |planner: Planner| planner.select(&p, Arch::Sm90a).unwrap().preferred().variant.set();
    assert_eq!(first(planner()), "shipped");
    assert_eq!(first(planner().with(&odd::KERNELS).with(&mine::KERNELS)), "mine");
    let pinned = odd::KERNELS.kernels.iter().find(|kernel| !kernel.name.ends_with("_plain")).unwrap().spec().unwrap();
    assert_eq!(first(planner().with(&odd::KERNELS).pin(pinned)), "odd");
}

/// Rows one to the group need little of a tile, and many need much.
#[test]
fn the_choice_follows_the_batch_unless_it_must_not() {
    let small = Problem::forward(128, 256, 1536, 2048);
    let large = Problem::forward(8, 65536, 1536, 2048);
    let tile = |planner: &Planner, p| spec(&planner.select(p, Arch::Sm90a).unwrap()).tile.m;
    assert!(tile(&planner(), &small) < tile(&planner(), &large));
    let invariant = planner().batch_invariant(true);
    assert_eq!(tile(&invariant, &small), tile(&invariant, &large));
}

/// Copies pay where groups have many rows; and where they may take no memory none are made.
#[test]
fn operands_are_copied_for_many_rows_within_the_limit() {
    let chosen = |planner: Planner, p: &Problem| planner.select(p, Arch::Sm90a).unwrap().preferred();
    let many = Problem::forward(64, 65536, 2047, 2047);
    let both = Realigned { a: true, b: true };
    assert_eq!(chosen(planner(), &many).realigned, both);
    assert!(chosen(planner(), &many).variant.spec().d_by_threads);
    assert_eq!(chosen(planner().copy_limit(0), &many).variant.spec().copy, CopyPath::Plain);
    let few = Problem::forward(128, 512, 1535, 2047);
    assert_eq!(chosen(planner(), &few).realigned, Realigned::NONE);
    // Where D can be addressed the ordinary variants serve, and an operand that can be is not copied.
    let aligned = chosen(planner(), &Problem::forward(64, 65536, 2048, 2047));
    assert_eq!((aligned.realigned, aligned.variant.spec().d_by_threads), (both, false));
    let only_x = chosen(planner(), &Problem::forward(64, 65536, 2048, 2048).x_row_stride(2049));
    assert_eq!(only_x.realigned, Realigned { a: true, b: false });
    // D alone starts anywhere.
    let d = chosen(planner(), &Problem::forward(64, 65536, 2047, 2048));
    assert_eq!((d.realigned, d.variant.spec().d_by_threads), (Realigned::NONE, true));
    // Elsewhere nothing reads copies.
    let elsewhere = planner().select(&many, Arch::Sm80).unwrap().preferred();
    assert_eq!((elsewhere.realigned, elsewhere.variant.spec().copy), (Realigned::NONE, CopyPath::Plain));
}

fn message(planner: &Planner, p: &Problem, arch: Arch) -> String {
    planner.select(p, arch).expect_err("it cannot be").to_string()
}

/// What cannot be is said with the value, the rule and the remedy.
/// 64 groups of 256 rows are two tiles of 128 rows each, and a router makes a quarter more of them.
#[test]
fn even_rows_are_predicted_to_take_fewer_tiles() {
    let p = Problem::new(Operation::Forward, 64, 64 * 256, 4096, 2048);
    let seconds = |planner: Planner| {
        let explanation = planner.only_table(Table::default()).explain(&p, Arch::Sm90a).unwrap();
        let tile = |c: &&Candidate| c.variant.spec().tile.m == 128 && c.variant.spec().copy == CopyPath::Tma;
        let times: Vec<f64> = explanation.candidates().iter().filter(tile).map(Candidate::seconds).collect();
        times.into_iter().reduce(f64::min).unwrap()
    };
    let said = |routing| seconds(planner().routing(routing));
    let [unsaid, skewed, even] = [seconds(planner()), said(Routing::Skewed), said(Routing::Even)];
    assert_eq!(unsaid, skewed);
    assert!(even < 0.95 * skewed, "{even} of {skewed}");
}

#[test]
fn a_pin_that_cannot_be_says_why_and_what_could() {
    let name = |tile: &str| format!("ggemm_rows_ak_bk_bf16_f32_bf16_sm80_{tile}");
    let wide = name("128x256x64_w2x4_s3_multistage_cpasync_evenk");
    let pinned = planner().pin(wide.parse().unwrap());
    let forward = Problem::forward(8, 4096, 1536, 2048);
    let hopper = |family: &str| format!("ggemm_{family}_sm90a_128x256x64_w8x1_s4_cooperative_tma_dynamic");
    let reduction = "ggemm_reduction_am_bn_bf16_f32_bf16_sm80_128x256x32_w2x4_s4_multistage_cpasync";
    let cases = [
        (
            forward.clone().with_operation(Operation::GradW),
            Arch::Sm90a,
            "grad_w bf16->bf16 G=8 M=4096 N=1536 K=2048 w=[G,N,K] sizes:i32",
            "its groups divide the rows, those of grad_w divide the reduction",
            hopper("reduction_am_bn_bf16_f32_bf16"),
        ),
        (
            forward.clone().weight_layout(WeightLayout::Kn),
            Arch::Sm90a,
            "forward bf16->bf16 G=8 M=4096 N=1536 K=2048 w=[G,K,N] sizes:i32",
            "it reads w as contiguous along the reduction, and that is contiguous along N",
            hopper("rows_ak_bn_bf16_f32_bf16"),
        ),
        (
            forward.clone().with_operation(Operation::GradX),
            Arch::Sm90a,
            "grad_x bf16->bf16 G=8 M=4096 N=1536 K=2048 w=[G,N,K] sizes:i32",
            "it reads w as contiguous along the reduction, and that is contiguous along K",
            hopper("rows_ak_bn_bf16_f32_bf16"),
        ),
        (
            forward.clone().operand(Dtype::F16),
            Arch::Sm90a,
            "forward f16->f16 G=8 M=4096 N=1536 K=2048 w=[G,N,K] sizes:i32",
            "it multiplies bf16, and x holds f16",
            hopper("rows_ak_bk_f16_f32_f16"),
        ),
        (
            forward.clone().output(Dtype::F32),
            Arch::Sm90a,
            "forward bf16->f32 G=8 M=4096 N=1536 K=2048 w=[G,N,K] sizes:i32",
            "it writes bf16, and y holds f32",
            hopper("rows_ak_bk_bf16_f32_f32"),
        ),
        (
            forward.clone(),
            Arch::Sm89,
            "forward bf16->bf16 G=8 M=4096 N=1536 K=2048 w=[G,N,K] sizes:i32",
            "sm_89 cannot run it: shared-memory: 3 stages take 147456 bytes, sm_89 grants 101376; nearest: 2",
            name("128x256x32_w2x4_s4_multistage_cpasync_evenk"),
        ),
        (
            forward.clone().y_row_stride(1540),
            Arch::Sm90a,
            "forward bf16->bf16 G=8 M=4096 N=1536 K=2048 w=[G,N,K] y_row_stride=1540 sizes:i32",
            "it needs every row at a multiple of 16 bytes, and the row stride of y is 1540 elements, 3080 bytes",
            "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x192x64_w4x1_s4_pingpong_tma_dynamic_dthreads".to_owned(),
        ),
        (
            forward.clone().w_group_stride(1536 * 2048 + 1),
            Arch::Sm90a,
            "forward bf16->bf16 G=8 M=4096 N=1536 K=2048 w=[G,N,K] w_group_stride=3145729 sizes:i32",
            "it needs every row at a multiple of 16 bytes, and the group stride of w is 3145729 elements, 6291458 bytes",
            hopper("rows_ak_bk_bf16_f32_bf16"),
        ),
        (
            Problem::forward(8, 4096, 1536, 2056),
            Arch::Sm90a,
            "forward bf16->bf16 G=8 M=4096 N=1536 K=2056 w=[G,N,K] sizes:i32",
            "its reduction is a multiple of 64, and K = 2056 is not",
            hopper("rows_ak_bk_bf16_f32_bf16"),
        ),
    ];
    for (p, arch, printed, unmet, nearest) in cases {
        assert_eq!(
            message(&pinned, &p, arch),
            format!(
                "{wide} is pinned and cannot compute `{printed}` on {arch}: {unmet}; pin {nearest}, or remove the pin"
            )
        );
    }
    let grad_w = planner().pin(reduction.parse().unwrap());
    let text = message(&grad_w, &Problem::grad_w(2, 64, 17, 24), Arch::Sm80);
    assert!(text.contains("the row stride of dy is 17 elements, 34 bytes"), "{text}");
}

/// Verification draws no problem that a variant cannot be pinned for.
#[test]
fn what_is_drawn_for_a_variant_it_computes() {
    for spec in ggemm_codegen::catalogue::shipped() {
        let arch = Arch::ALL.into_iter().find(|arch| ggemm_codegen::ValidSpec::new(spec, *arch).is_ok()).unwrap();
        for (seed, extent) in (0..150).zip(Extent::ALL.into_iter().cycle()) {
            let problem = Scenario::any(&spec, seed, extent).problem;
            planner().pin(spec).select(&problem, arch).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }
}

/// Without the feature it is refused: `tests/dependent` of the root package shows how.
#[cfg(feature = "generate")]
#[test]
fn a_pin_that_nobody_baked_is_made_on_the_spot() {
    let name = "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s4_multistage_cpasync";
    let planner = planner().pin(name.parse().unwrap());
    let p = Problem::forward(8, 4096, 1536, 2048);
    assert_eq!(spec(&planner.select(&p, Arch::Sm80).unwrap()).to_string(), name);
}

#[test]
fn a_problem_that_means_nothing_is_refused_first() {
    let p = Problem::forward(0, 1, 1, 1);
    assert!(matches!(planner().select(&p, Arch::Sm80), Err(Error::Problem(_))));
    assert!(matches!(planner().explain(&p, Arch::Sm80), Err(Error::Problem(_))));
}

#[test]
fn an_explanation_reads_well() {
    let p = Problem::forward(4, 300, 104, 72).output(Dtype::F32);
    let text = planner().explain(&p, Arch::Sm90a).unwrap().to_string();
    let lines: Vec<&str> = text.lines().collect();
    // Times change with the cost model; the form does not.
    assert_eq!(lines[0], "forward bf16->f32 G=4 M=300 N=104 K=72 w=[G,N,K] sizes:i32 on sm_90a");
    assert!(
        lines[1].starts_with("chosen: ggemm_rows_ak_bk_bf16_f32_f32_sm90a_")
            && lines[1].contains("best of 5 candidates; next: "),
        "{text}"
    );
    assert_eq!(
        lines[2],
        "where a tensor's address is no multiple of 16 bytes: ggemm_rows_ak_bk_bf16_f32_f32_sm80_64x64x32_w2x2_s2_multistage_plain"
    );
    assert_eq!(lines[3], "candidates:");
    assert!(lines[4..9].iter().all(|line| line.starts_with("  shipped::ggemm_rows_ak_bk_bf16_f32_f32_sm")), "{text}");
    assert_eq!(lines[9], "left out:", "{text}");
    assert!(lines[10..].iter().all(|line| line.ends_with("on sm_90a, others do all that it does, faster")), "{text}");
    assert_eq!(lines.len(), 12, "{text}");
}
