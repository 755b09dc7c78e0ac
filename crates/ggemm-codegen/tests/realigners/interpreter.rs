//! Every kernel, on tokens and weights, on groups of any kind and on rows of any stride.

use ggemm_codegen::RealignSpec;
use ggemm_codegen::interp::{Policy, Settings};
use ggemm_codegen::kernels::realign::{RealignScenario, build};
use ggemm_codegen::scenario::Extent;

use super::case::Case;

fn check(spec: &RealignSpec, case: &Case, settings: Settings) {
    let kernel = build(spec);
    assert_eq!(case.task.spec(), spec);
    let mut memory = case.memory();
    if let Err(finding) = case.run(&kernel, &mut memory, settings) {
        panic!("{case}\n{finding}");
    }
    case.check(&memory).unwrap_or_else(|wrong| panic!("{case}, {settings}: {wrong}"));
}

/// Sizes and ends, one weight or many, tokens, strides of every kind: each kernel on some.
#[test]
fn every_kernel_copies_what_products_read() {
    for spec in RealignSpec::all() {
        for seed in 0..40 {
            let case = Case::new(RealignScenario::random(&spec, seed, Extent::Tiles));
            let settings = Settings {
                policy: Policy::ALL[seed as usize % 4],
                seed,
                ctas: 1 + seed as usize % 3,
                ..Settings::default()
            };
            check(&spec, &case, settings);
        }
    }
}

/// Rows and columns around those of a block and of a piece.
#[test]
fn edges_are_copied_and_nothing_past_them() {
    for spec in RealignSpec::all() {
        for (n, (rows, cols)) in (0u64..).zip([(32, 256), (33, 257), (31, 255), (1, 1), (8, 7), (9, 9), (64, 512)]) {
            for pick in [0, 8, 16, 24].map(|stride| stride + 2 * n + 128 + (n % 2) * 96) {
                check(&spec, &Case::new(RealignScenario::of(&spec, &[3, 0, 2], rows, cols, pick)), Settings::default());
            }
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
    for spec in RealignSpec::all() {
        for values in bad {
            for pick in [4, 6, 12] {
                check(&spec, &Case::new(RealignScenario::of(&spec, values, 9, 17, pick)), Settings::default());
            }
        }
        for (rows, cols) in [(0, 9), (9, 0), (0, 0)] {
            check(&spec, &Case::new(RealignScenario::of(&spec, &[1, 1], rows, cols, 0)), Settings::default());
        }
    }
}

/// Rows of a copy are multiples of 128 bytes, and one CTA has one block.
#[test]
fn copies_are_what_the_copy_engine_likes() {
    for seed in 0..100 {
        let spec = RealignSpec::all().next().unwrap();
        let task = Case::new(RealignScenario::random(&spec, seed, Extent::Hundreds)).task;
        let (source, copy) = (task.source(), task.copy());
        assert!(copy.row_stride.is_multiple_of(64) && copy.row_stride < source.cols + 64);
        assert!(copy.stride_alignment() == 16 && copy.elements() * 2 <= task.copy_bytes());
        let matrices = if source.group_stride == 0 { 1 } else { source.groups };
        let blocks = matrices * source.rows.div_ceil(32) * source.cols.div_ceil(256);
        assert_eq!(task.grid(), Some(blocks as u32));
    }
}

#[test]
fn names_read_back() {
    for spec in RealignSpec::all() {
        assert_eq!(spec.to_string().parse(), Ok(spec));
    }
    assert!("ggemm_realign_f32_sm90a".parse::<RealignSpec>().is_err());
}
