//! The same bits on every run, with any number of threads, and for a row whatever the other rows are.

use ggemm::random::{Rng, Spread, Tensors, Values};
use ggemm::{Args, Buffer, Device, Dtype, Error, Operation, Planner, Problem, Tail, WeightLayout, bf16};

fn output(problem: &Problem, tensors: &Tensors, threads: usize) -> Result<Buffer, Error> {
    let mut out = tensors.out.try_clone()?;
    let plan = Planner::new(Device::cpu()).plan(problem)?;
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool.install(|| plan.run(tensors.args(&mut out)))?,
        Err(error) => panic!("no pool of {threads} threads: {error}"),
    }
    Ok(out)
}

fn bits(buffer: &Buffer) -> Vec<u32> {
    buffer.as_slice::<f32>().unwrap_or_default().iter().map(|v| v.to_bits()).collect()
}

#[test]
fn every_run_and_every_number_of_threads_gives_the_same_bits() -> Result<(), Error> {
    let mut rng = Rng::new(3);
    for operation in Operation::ALL {
        for layout in [WeightLayout::Nk, WeightLayout::Kn] {
            let problem = Problem::new(operation, 9, 700, 300, 290).weight_layout(layout).output(Dtype::F32);
            let tensors = Tensors::random(&problem, &Spread::Zipf.sizes(9, 700, &mut rng), Values::Normal, 4)?;
            let expected = bits(&output(&problem, &tensors, 1)?);
            for threads in [1, 2, 3, 64] {
                assert!(bits(&output(&problem, &tensors, threads)?) == expected, "`{problem}` on {threads} threads");
            }
        }
    }
    Ok(())
}

/// Each row alone, in a group of its own, gives the bits that it gives among many: the CPU is batch-invariant.
#[test]
fn a_row_does_not_depend_on_the_others() -> Result<(), Error> {
    for operation in [Operation::Forward, Operation::GradX] {
        for layout in [WeightLayout::Nk, WeightLayout::Kn] {
            for (n, k) in [(70, 200), (1, 1), (200, 70), (3, 2), (17, 129)] {
                let problem = Problem::new(operation, 1, 130, n, k).weight_layout(layout).output(Dtype::F32);
                let tensors = Tensors::random(&problem, &[130], Values::Normal, 5)?;
                let all = bits(&output(&problem, &tensors, 2)?);
                let alone = Problem::new(operation, 1, 1, n, k).weight_layout(layout).output(Dtype::F32);
                let plan = Planner::new(Device::cpu()).batch_invariant(true).plan(&alone)?;
                let [shape, _, out] = problem.tensors();
                let x = tensors.lhs.as_slice::<bf16>().unwrap_or_default();
                for row in [0, 1, 47, 48, 49, 127, 129] {
                    let own = &x[row * shape.row_stride..][..shape.cols];
                    let mut y = vec![0.0_f32; out.cols];
                    plan.run(Args::new(operation, own, &tensors.rhs, &[1_i32], &mut y))?;
                    let y: Vec<u32> = y.iter().map(|v| v.to_bits()).collect();
                    assert!(y == all[row * out.row_stride..][..out.cols], "`{problem}`, row {row}");
                }
            }
        }
    }
    Ok(())
}

/// Infinities and NaN go where IEEE sends them and stay in their group.
#[test]
fn what_is_not_finite_stays_in_its_group() -> Result<(), Error> {
    let problem = Problem::forward(3, 6, 2, 2).tail(Tail::Zero).output(Dtype::F32);
    let b = bf16::from_f32;
    let x = [1.0, 0.0, f32::INFINITY, 1.0, f32::INFINITY, f32::NEG_INFINITY, 0.0, 0.0, 1.0, 1.0, f32::NAN, 1.0].map(b);
    let w = [1.0, 2.0, 3.0, 4.0, 1.0, 1.0, f32::INFINITY, 1.0, 1.0, 0.0, 0.0, 1.0].map(b);
    let mut y = [7.0_f32; 12];
    let plan = Planner::new(Device::cpu()).plan(&problem)?;
    plan.run(Args::forward(&x, &w, &[3_i32, 1, 1], &mut y))?;
    let inf = f32::INFINITY;
    let expected = [1.0, 3.0, inf, inf, f32::NAN, f32::NAN, 0.0, f32::NAN, 1.0, 1.0, 0.0, 0.0];
    let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
    assert!(y.iter().zip(&expected).all(same), "{y:?} instead of {expected:?}");
    Ok(())
}

/// A thread keeps its panels from run to run: what one run left there must not reach the next.
#[test]
fn a_run_leaves_nothing_to_the_next() -> Result<(), Error> {
    for operation in Operation::ALL {
        for layout in [WeightLayout::Nk, WeightLayout::Kn] {
            let of = |m, n, k| Problem::new(operation, 1, m, n, k).weight_layout(layout).output(Dtype::F32);
            let (large, small) = (of(130, 130, 130), of(5, 6, 7));
            let mut poison = Tensors::random(&large, &[130], Values::Normal, 1)?;
            for operand in [&mut poison.lhs, &mut poison.rhs] {
                operand.as_mut_slice::<bf16>().unwrap_or_default().fill(bf16::NAN);
            }
            let tensors = Tensors::random(&small, &[5], Values::Normal, 2)?;
            let clean = bits(&output(&small, &tensors, 1)?);
            let (mut ignored, mut out) = (poison.out.try_clone().unwrap(), tensors.out.try_clone().unwrap());
            let planner = Planner::new(Device::cpu());
            let (first, second) = (planner.plan(&large)?, planner.plan(&small)?);
            match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
                Ok(pool) => pool.install(|| {
                    first.run(poison.args(&mut ignored))?;
                    second.run(tensors.args(&mut out))
                })?,
                Err(error) => panic!("no pool: {error}"),
            }
            assert!(bits(&out) == clean, "`{small}` after NaN");
        }
    }
    Ok(())
}
