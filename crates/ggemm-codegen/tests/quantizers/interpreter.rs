//! Every kernel, on ragged groups, odd extents and padded strides.

use ggemm_codegen::interp::{Policy, Settings};
use ggemm_codegen::ir::SharedBy;
use ggemm_codegen::kernels::quantize::{Asked, Form, QuantizeScenario, build};
use ggemm_codegen::scenario::Extent;
use ggemm_codegen::{Dtype, QuantizeSpec, Scaling};

use super::case::Case;

/// Sizes around a block's, empty groups one after another, a tail.
const RAGGED: [i64; 7] = [129, 0, 0, 3, 128, 257, 1];
/// Rows of the source, of which those past the groups are no group's.
const ROWS: usize = 518 + 21;

/// Runs a case on so many CTAs, or clusters of them, as the settings say.
fn check(spec: &QuantizeSpec, case: &Case, settings: Settings) {
    let kernel = build(spec);
    let settings = Settings { ctas: settings.ctas * spec.ctas() as usize, ..settings };
    assert_eq!(case.task.spec(), spec);
    let mut memory = case.memory();
    if let Err(finding) = case.run(&kernel, &mut memory, settings) {
        panic!("{case}\n{finding}");
    }
    case.check(&memory).unwrap_or_else(|wrong| panic!("{case}, {settings}: {wrong}"));
}

/// Aligned and not, sizes and ends, one weight for all or one for each, scales of any kind: each kernel on some.
#[test]
fn every_kernel_makes_the_copies_that_the_problems_say() {
    for (n, spec) in (0u64..).zip(QuantizeSpec::all()) {
        let ragged = spec.form().ragged;
        // Types are a matter of few statements: all of them on one of the two, some on both.
        let both = [(n % 2, [144, 133][n as usize % 2]), (1 - n % 2, [133, 144][n as usize % 2])];
        for (round, cols) in both.into_iter().take(1 + usize::from(n < Form::ALL.len() as u64)) {
            let pick = n * 37 + round * 11;
            let (groups, rows) = if ragged { (RAGGED.len(), ROWS) } else { (2, if round == 0 { 160 } else { 139 }) };
            let sizes = &RAGGED[..groups];
            let case = Case::new(&spec, QuantizeScenario::of(&spec, sizes, rows, cols, pick), n);
            let case = if pick % 5 == 0 { case.unaligned() } else { case };
            let policy = Policy::ALL[pick as usize % 4];
            check(&spec, &case, Settings { policy, seed: pick, ctas: 1 + pick as usize % 3, ..Settings::default() });
        }
    }
}

/// Groups that contradict the problem lead nowhere outside, and nothing at all is something as well.
#[test]
fn bad_and_empty_groups_stay_inside() {
    let bad: [&[i64]; 6] = [
        &[-5, 3, 900, 2],
        &[i64::MAX, i64::MAX, 1, 1],
        &[i64::MIN, 7, -1, 0],
        &[0; 4],
        &[9, 3, 20, 4],
        &[1 << 33, 1, 1, 1],
    ];
    let specs = QuantizeSpec::all().filter(|s| s.form().ragged && s.source() == Dtype::F16);
    for spec in specs.filter(|s| s.format() == Dtype::E5m2) {
        for (n, values) in (0u64..).zip(bad) {
            for pick in 4..8 {
                let scenario = QuantizeScenario::of(&spec, values, 40, 16, pick);
                check(&spec, &Case::new(&spec, scenario, n), Settings::default());
            }
        }
    }
}

/// Windows of the walk that are full to the last lane, and more groups than one holds; merged, with a tail and without.
#[test]
fn many_groups_are_found() {
    let form = Form::ALL.into_iter().find(|f| f.ragged && f.second.is_some()).unwrap();
    let spec = QuantizeSpec::new(Dtype::Bf16, Dtype::E4m3, form).unwrap();
    for count in [31, 32, 33, 63, 64, 70_usize] {
        let sizes: Vec<i64> = (0..count as i64).map(|g| (g * 7 + 3) % 5 % 3).collect();
        let total = sizes.iter().sum::<i64>() as usize;
        for (pick, past) in [(0, 5), (1, 5), (1, 0)] {
            let scenario = QuantizeScenario::of(&spec, &sizes, total + past, 16, pick);
            let settings = Settings { ctas: 2, ..Settings::default() };
            check(&spec, &Case::new(&spec, scenario, count as u64), settings);
        }
    }
}

/// Rows and columns of several long blocks: all but the last are read again.
#[test]
fn long_rows_and_columns_are_gone_over_twice() {
    let specs = QuantizeSpec::all().filter(|s| s.form().scaling == Scaling::Row && s.format() == Dtype::E4m3);
    for (n, spec) in (0u64..).zip(specs.filter(|s| s.source() != Dtype::F16)) {
        let (rows, cols) = spec.block();
        let is_along_rows = spec.form().copy.by == SharedBy::Row;
        // Of a cluster's CTAs the first has three blocks, the second three of which one is short, the others two.
        let blocks = 2 * spec.ctas() as usize;
        let more = if blocks > 2 { [cols, rows] } else { [0, 0] }.map(|block| block as usize);
        let (cols, rows) = (blocks * cols as usize + more[0] + 16, blocks * rows as usize + more[1] + 144);
        let (rows, cols) = if is_along_rows { (9, cols) } else { (rows, 32) };
        let sizes = if spec.form().ragged { vec![3, rows as i64 - 10, 0] } else { vec![0] };
        let scenario = QuantizeScenario::of(&spec, &sizes, rows, cols, n % 2 * 8);
        check(&spec, &Case::new(&spec, scenario, n), Settings { seed: n, ..Settings::default() });
    }
}

/// Extents of nothing: no elements, but scales of 1 where a row or a column has one.
#[test]
fn nothing_is_quantized_to_nothing() {
    for form in Form::ALL {
        let spec = QuantizeSpec::new(Dtype::Bf16, Dtype::E4m3, form).unwrap();
        for (rows, cols) in [(0, 16), (16, 0), (0, 0)] {
            let scenario = QuantizeScenario::of(&spec, &[0, 0], rows, cols, 0);
            check(&spec, &Case::new(&spec, scenario, 2), Settings::default());
        }
    }
}

/// What verification draws is right too, and seeds decide it.
#[test]
fn random_scenarios_are_problems() {
    for (n, spec) in (0u64..).zip(QuantizeSpec::all().step_by(5)) {
        let draw = || QuantizeScenario::random(&spec, n, Extent::Tiles);
        assert_eq!(draw().to_string(), draw().to_string());
        check(&spec, &Case::new(&spec, draw(), n), Settings { ctas: 2, seed: n, ..Settings::default() });
    }
}

/// Two copies come of one read only where a block has all that both depend on.
#[test]
fn tasks_go_together_where_one_block_has_all() {
    let task = |scaling: Scaling, by: SharedBy| {
        let form = Form::ALL.into_iter().find(|f| f.scaling == scaling && f.copy.by == by && f.second.is_none());
        let spec = QuantizeSpec::new(Dtype::Bf16, Dtype::E4m3, form.unwrap()).unwrap();
        let QuantizeScenario { asked, from, .. } = QuantizeScenario::of(&spec, &[100, 100], 256, 128, 0);
        let Asked { problem, which } = &asked[0];
        ggemm_codegen::kernels::quantize::Task::new(problem, *which, Dtype::Bf16, from, false).unwrap()
    };
    let tokens = task(Scaling::Block, SharedBy::Row);
    assert!(tokens.together(&task(Scaling::Block, SharedBy::Column)).is_some());
    assert!(tokens.together(&task(Scaling::Row, SharedBy::Column)).is_none());
    assert!(tokens.together(&tokens).is_none());
    assert!(task(Scaling::Row, SharedBy::Row).together(&task(Scaling::Row, SharedBy::Column)).is_none());
}
