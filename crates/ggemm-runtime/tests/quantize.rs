//! Quantization, held against the `float8` crate's conversions and against the definition of each operand, element by
//! element.

use std::collections::HashMap;

use float8::{F8E4M3, F8E5M2};
use ggemm_runtime::quantize::{Quantized, Quantizer};
use ggemm_runtime::random::Rng;
use ggemm_runtime::{
    Args, Buffer, Device, Dtype, ElementType, Error, Mode, Operation, Planner, Problem, Reference, Scaling, Tail,
    WeightLayout, WeightSharing, bf16, e4m3, e5m2, f16,
};

/// float8's rounding of a value, as bits.
fn rounded(dtype: Dtype, value: f32) -> u8 {
    if dtype == Dtype::E4m3 { F8E4M3::from_f32(value).to_bits() } else { F8E5M2::from_f32(value).to_bits() }
}

fn is_nan(dtype: Dtype, bits: u8) -> bool {
    bits & 0x7f > if dtype == Dtype::E4m3 { 0x7e } else { 0x7c }
}

/// Every bf16 and every f16 becomes what `float8` makes of it, infinities and NaN included.
#[test]
fn every_16_bit_value_is_rounded_as_float8_rounds_it() {
    for bits in 0..=u16::MAX {
        for value in [bf16::from_bits(bits).to_f32(), f16::from_bits(bits).to_f32()] {
            for (dtype, ours) in
                [(Dtype::E4m3, e4m3::from_f32(value).to_bits()), (Dtype::E5m2, e5m2::from_f32(value).to_bits())]
            {
                let theirs = rounded(dtype, value);
                if value.is_nan() {
                    assert!(is_nan(dtype, ours) && is_nan(dtype, theirs), "{dtype} of {value}: {ours:#x}");
                } else {
                    assert_eq!(ours, theirs, "{dtype} of {value:e}");
                }
            }
        }
    }
    for bits in 0..=u8::MAX {
        let (ours, theirs) = (e4m3::from_bits(bits).to_f32(), F8E4M3::from_bits(bits).to_f32());
        assert!(ours == theirs || ours.is_nan() && theirs.is_nan(), "{bits:#x}");
        let (ours, theirs) = (e5m2::from_bits(bits).to_f32(), F8E5M2::from_bits(bits).to_f32());
        assert!(ours == theirs || ours.is_nan() && theirs.is_nan(), "{bits:#x}");
    }
}

/// The 280 rows of five groups, whose sizes lie around a block's and whose starts lie anywhere, before a tail.
const SIZES: [i32; 5] = [129, 0, 3, 128, 20];
const M: usize = 285;
const N: usize = 140;
const K: usize = 133;

/// Where the source has element i along the output and k along the reduction, of one group.
type Place = Box<dyn Fn(usize, usize, usize) -> usize>;

/// A tensor to be quantized.
struct Source {
    values: Vec<f32>,
    at: Place,
    /// Of each group: its elements along the output, and along the reduction.
    extents: Vec<(usize, usize)>,
    /// Where the reduction of each group starts.
    starts: Vec<usize>,
}

fn source(problem: &Problem, which: usize, from: WeightLayout, rng: &mut Rng) -> Source {
    let shared = problem.weight_sharing == WeightSharing::Shared;
    let groups = if shared { 1 } else { SIZES.len() };
    let cols = match (problem.operation, which) {
        (Operation::Forward, 0) | (Operation::GradW, 1) => K,
        _ => N,
    };
    let zeros = vec![0; groups];
    let (len, at, extents, starts): (usize, Place, _, _) = match (problem.operation, which) {
        (Operation::GradW, _) => {
            let sizes = if shared { vec![280] } else { SIZES.map(|s| s as usize).to_vec() };
            let mut end = 0;
            let starts: Vec<usize> = sizes.iter().map(|size| (end, end += size).0).collect();
            let of = starts.clone();
            let at = move |g: usize, i: usize, k: usize| (of[g] + k) * cols + i;
            (M * cols, Box::new(at), sizes.into_iter().map(|size| (cols, size)).collect(), starts)
        }
        (_, 0) => (M * cols, Box::new(move |_, i, k| i * cols + k), vec![(M, cols)], vec![0]),
        (operation, _) => {
            let at = move |g: usize, i: usize, k: usize| {
                let (n, k) = if operation == Operation::Forward { (i, k) } else { (k, i) };
                g * N * K + if from == WeightLayout::Nk { n * K + k } else { k * N + n }
            };
            let extents = if operation == Operation::Forward { (N, K) } else { (K, N) };
            (groups * N * K, Box::new(at), vec![extents; groups], zeros)
        }
    };
    // Stretches of very different magnitudes.
    let mut scale = 1.0;
    let values = (0..len).map(|index| {
        if index % 977 == 0 {
            scale = 2.0_f32.powi(rng.below(40) as i32 - 20);
        }
        rng.normal() * scale
    });
    Source { values: values.collect(), at, extents, starts }
}

/// The place of an element in the copy.
fn place(problem: &Problem, which: usize, start: usize, (g, i, k): (usize, usize, usize)) -> usize {
    let shape = problem.tensors()[which];
    let along_rows = match (problem.operation, which) {
        (Operation::GradW, _) => problem.reduction_blocks,
        (_, 0) => true,
        (Operation::Forward, _) => problem.weight_layout == WeightLayout::Nk,
        _ => problem.weight_layout == WeightLayout::Kn,
    };
    let k = match (problem.operation, problem.reduction_blocks) {
        (Operation::GradW, true) => (start / 128 + g) * 128 + k,
        (Operation::GradW, false) => start + k,
        _ => k,
    };
    g * shape.group_stride + if along_rows { i * shape.row_stride + k } else { k * shape.row_stride + i }
}

/// Holds a copy against its source: every scale, every element, and zeros everywhere else.
fn check(problem: &Problem, which: usize, source: &Source, made: &Quantized, powers_of_two: bool) {
    let dtype = problem.operands()[which];
    let largest = if dtype == Dtype::E4m3 { 448.0_f32 } else { 57_344.0 };
    let scale = problem.scales().expect("the problem is fp8")[which];
    let block_of = |g: usize, k: usize| match problem.operation {
        Operation::GradW => source.starts[g] / 128 + g + k / 128,
        _ => k / 128,
    };
    let each = |visit: &mut dyn FnMut(usize, usize, usize)| {
        for (g, (outer, length)) in source.extents.iter().enumerate() {
            (0..*outer).for_each(|i| (0..*length).for_each(|k| visit(g, i, k)));
        }
    };
    let mut amax: HashMap<usize, f32> = HashMap::new();
    each(&mut |g, i, k| {
        let most = amax.entry(scale.index(g, i, block_of(g, k))).or_default();
        *most = most.max(source.values[(source.at)(g, i, k)].abs());
    });
    let scales = made.scales.as_slice::<f32>().expect("scales are f32");
    for (index, amax) in &amax {
        let exact = f64::from(*amax) / f64::from(largest);
        let found = f64::from(scales[*index]);
        if powers_of_two {
            assert_eq!(found.log2().fract(), 0.0, "`{problem}` scale {index}");
            assert!(
                found >= exact * (1.0 - 1e-7) && found < 2.0 * exact,
                "`{problem}` scale {index}: {found} of {exact}"
            );
        } else {
            assert_eq!(scales[*index], amax / largest, "`{problem}` scale {index}");
        }
    }
    let bits = bits(&made.elements);
    let mut expected = vec![0; bits.len()];
    each(&mut |g, i, k| {
        let inverse = 1.0 / scales[scale.index(g, i, block_of(g, k))];
        expected[place(problem, which, source.starts[g.min(source.starts.len() - 1)], (g, i, k))] =
            rounded(dtype, source.values[(source.at)(g, i, k)] * inverse);
    });
    assert!(bits == expected, "`{problem}`, operand {which}: an element is not its source's");
}

fn bits(buffer: &Buffer) -> Vec<u8> {
    match buffer.element_type() {
        ElementType::E4m3 => buffer.as_slice::<e4m3>().unwrap_or_default().iter().map(|e| e.to_bits()).collect(),
        _ => buffer.as_slice::<e5m2>().unwrap_or_default().iter().map(|e| e.to_bits()).collect(),
    }
}

#[test]
fn every_operand_of_every_form() -> Result<(), Error> {
    let mut rng = Rng::new(3);
    for (operation, blocks) in Operation::ALL.map(|o| (o, false)).into_iter().chain([(Operation::GradW, true)]) {
        for scaling in [Scaling::Row, Scaling::Block] {
            for (layout, sharing) in [
                (WeightLayout::Nk, WeightSharing::PerExpert),
                (WeightLayout::Kn, WeightSharing::PerExpert),
                (WeightLayout::Kn, WeightSharing::Shared),
            ] {
                for from in [WeightLayout::Nk, WeightLayout::Kn] {
                    let powers_of_two = rng.below(2) == 0;
                    let problem = Problem::new(operation, SIZES.len(), M, N, K)
                        .operand(Dtype::E5m2)
                        .second_operand(Dtype::E4m3)
                        .scaling(scaling)
                        .weight_layout(layout)
                        .weight_sharing(sharing)
                        .tail(Tail::Zero)
                        .reduction_blocks(blocks);
                    // Rows further apart than they are long.
                    let [a, ..] = problem.tensors();
                    let problem = match operation {
                        Operation::Forward => problem.x_row_stride(a.cols + 3),
                        _ => problem.y_row_stride(a.cols + 3),
                    };
                    let quantizer =
                        Quantizer::new(&problem)?.weights_from(from).powers_of_two(powers_of_two).groups(&SIZES)?;
                    let first = source(&problem, 0, from, &mut rng);
                    check(&problem, 0, &first, &quantizer.first(&first.values)?, powers_of_two);
                    let second = source(&problem, 1, from, &mut rng);
                    check(&problem, 1, &second, &quantizer.second(&second.values)?, powers_of_two);
                }
            }
        }
    }
    Ok(())
}

/// bf16, f16 and f32 that hold the same values are quantized alike.
#[test]
fn the_sources_type_makes_no_difference() -> Result<(), Error> {
    let problem = Problem::forward(1, 3, 1, 200).operand(Dtype::E4m3).scaling(Scaling::Block);
    let mut rng = Rng::new(1);
    let half: Vec<bf16> = (0..600).map(|_| bf16::from_f32(rng.normal())).collect();
    let single: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
    let quantizer = Quantizer::new(&problem)?;
    let (from_half, from_single) = (quantizer.first(&half)?, quantizer.first(&single)?);
    assert_eq!(bits(&from_half.elements), bits(&from_single.elements));
    assert_eq!(from_half.scales.to_vec::<f32>()?, from_single.scales.to_vec::<f32>()?);
    let half: Vec<f16> = (0..600).map(|_| f16::from_f32(rng.normal())).collect();
    let single: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
    assert_eq!(bits(&quantizer.first(&half)?.elements), bits(&quantizer.first(&single)?.elements));
    Ok(())
}

#[test]
fn what_has_no_scale_of_its_own() -> Result<(), Error> {
    let problem = Problem::forward(1, 6, 1, 2).operand(Dtype::E4m3).scaling(Scaling::Row);
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let x = [0.0, -0.0, 896.0, inf, 2.0, nan, -inf, inf, 1e-45, -1e-45, f32::MAX, f32::MIN];
    let made = Quantizer::new(&problem)?.first(&x)?;
    let scales = made.scales.to_vec::<f32>()?;
    assert_eq!(scales, [1.0, 2.0, 2.0 / 448.0, 1.0, f32::MIN_POSITIVE, f32::MAX / 448.0]);
    let found = bits(&made.elements);
    assert_eq!(found[..5], [0, 0x80, 0x7e, 0x7e, 0x7e]);
    assert!(is_nan(Dtype::E4m3, found[5]));
    assert_eq!(found[6..], [0xfe, 0x7e, 0, 0x80, 0x7e, 0xfe]);
    Ok(())
}

/// Products of quantized operands: within the bound of what was quantized, and as near to the product of the sources as
/// three bits of fraction let them be.
#[test]
fn a_training_step_in_fp8() -> Result<(), Error> {
    let (m, n, k) = (300, 72, 200);
    let sizes = [131_i32, 0, 169];
    let mut rng = Rng::new(9);
    let mut normal = |len: usize| -> Vec<bf16> { (0..len).map(|_| bf16::from_f32(rng.normal())).collect() };
    let (x, w, dy) = (normal(m * k), normal(3 * n * k), normal(m * n));
    for scaling in [Scaling::Row, Scaling::Block] {
        for operation in Operation::ALL {
            let plain = Problem::new(operation, 3, m, n, k).output(Dtype::F32);
            let mut fp8 = plain.clone().operand(Dtype::E4m3).scaling(scaling);
            // As a GPU will want them: along the reduction.
            if operation == Operation::GradX {
                fp8 = fp8.weight_layout(WeightLayout::Kn);
            }
            fp8 = fp8.reduction_blocks(operation == Operation::GradW);
            let (first, second) = match operation {
                Operation::Forward => (&x, &w),
                Operation::GradX => (&dy, &w),
                Operation::GradW => (&dy, &x),
            };
            let quantizer = Quantizer::new(&fp8)?.weights_from(WeightLayout::Nk).groups(&sizes)?;
            let (a, b) = (quantizer.first(first)?, quantizer.second(second)?);
            let planner = Planner::new(Device::cpu());
            let [_, _, d] = plain.tensors();
            let (mut of_fp8, mut of_bf16) = (vec![0.0_f32; d.elements()], vec![0.0_f32; d.elements()]);
            let before = of_fp8.clone();
            planner.plan(&fp8)?.run(Args::new(operation, a.operand(), b.operand(), &sizes, &mut of_fp8))?;
            let reference = Reference::compute(&fp8, a.operand(), b.operand(), &sizes, &before, &|_| ())?;
            let comparison = reference.compare(&before, &of_fp8, Mode::Bound)?;
            assert!(comparison.pass(), "`{fp8}`: {comparison}");
            planner.plan(&plain)?.run(Args::new(operation, first, second, &sizes, &mut of_bf16))?;
            let power: f64 = of_bf16.iter().map(|v| f64::from(*v).powi(2)).sum();
            let noise: f64 = of_bf16.iter().zip(&of_fp8).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let share = (noise / power).sqrt();
            // Each operand's elements err by 2⁻⁴ at most, by 2⁻⁵ and less on average, and independently of each other.
            assert!((0.005..0.0625).contains(&share), "`{fp8}`: the error is {share} of the result");
        }
    }
    Ok(())
}

#[test]
fn mistakes_are_named() {
    let text = |result: Result<Quantized, Error>| result.expect_err("it is a mistake").to_string();
    let problem = Problem::grad_w(2, 4, 3, 5).operand(Dtype::E4m3).scaling(Scaling::Row);
    let quantizer = |problem: &Problem| Quantizer::new(problem).expect("the problem is fp8");
    assert_eq!(
        text(quantizer(&problem).first(&[bf16::ONE; 12])),
        "`grad_w e4m3->bf16 G=2 M=4 N=3 K=5 w=[G,N,K] scales=row sizes:i32` scales the rows of each group apart, and no groups were given: give their sizes or ends (`Quantizer::groups`; from Python `sizes=` or `ends=`)"
    );
    let forward = Problem::forward(2, 4, 3, 5).operand(Dtype::E4m3).scaling(Scaling::Row);
    assert_eq!(
        text(quantizer(&forward).first(&[1_i32; 20])),
        "x holds i32: quantization starts from bf16, f16 or f32; pass one of them"
    );
    assert_eq!(
        text(quantizer(&forward).weights_from(WeightLayout::Kn).second(&[bf16::ONE; 29])),
        "w has 29 elements, 30 are needed by `forward e4m3->bf16 G=2 M=4 N=3 K=5 w=[G,N,K] scales=row sizes:i32` ([2, 5, 3]): pass at least 30"
    );
    let error = quantizer(&problem).groups(&[2_i32, 3]).expect_err("that is a row too many");
    assert!(matches!(error, Error::Groups(_)), "{error}");
    let error = Quantizer::new(&Problem::forward(2, 4, 3, 5)).expect_err("bf16 is not quantized");
    assert!(matches!(error, Error::NotFp8 { .. }), "{error}");
}
