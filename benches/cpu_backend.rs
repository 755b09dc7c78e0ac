//! The CPU backend on bf16 beside the `gemm` crate on f32, for the same products on the same machine.
//!
//! `cargo bench --bench cpu_backend`. Throughput is in multiply-adds: compare the two lines of each group.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ggemm::random::{Rng, Spread, Tensors, Values};
use ggemm::{Buffer, Device, Error, Operation, Planner, Problem, TensorShape, bf16};

/// The f32 matrices of a problem, dense, for one call of `gemm` a group.
struct Baseline {
    operation: Operation,
    shapes: [TensorShape; 3],
    lhs: Vec<f32>,
    rhs: Vec<f32>,
    out: Vec<f32>,
    sizes: Vec<usize>,
}

impl Baseline {
    fn new(problem: &Problem, tensors: &Tensors, sizes: &[usize]) -> Option<Self> {
        let wide = |buffer: &Buffer| Some(buffer.as_slice::<bf16>()?.iter().map(|v| v.to_f32()).collect::<Vec<f32>>());
        Some(Baseline {
            operation: problem.operation,
            shapes: problem.tensors(),
            lhs: wide(&tensors.lhs)?,
            rhs: wide(&tensors.rhs)?,
            out: vec![0.0; tensors.out.len()],
            sizes: sizes.to_vec(),
        })
    }

    fn run(&mut self) {
        let [a, b, d] = self.shapes;
        let mut start = 0;
        for (group, &size) in self.sizes.iter().enumerate() {
            // Offset of the group's part, rows, columns; strides of (row, column), for A, B and D of D = A · B.
            let ((m, n, k), a_at, b_at, d_at, a_strides, b_strides) = match self.operation {
                Operation::Forward => (
                    (size, d.cols, a.cols),
                    start * a.row_stride,
                    group * b.group_stride,
                    start * d.row_stride,
                    (a.row_stride, 1),
                    (1, b.row_stride),
                ),
                Operation::GradX => (
                    (size, d.cols, a.cols),
                    start * a.row_stride,
                    group * b.group_stride,
                    start * d.row_stride,
                    (a.row_stride, 1),
                    (b.row_stride, 1),
                ),
                Operation::GradW => (
                    (d.rows, d.cols, size),
                    start * a.row_stride,
                    start * b.row_stride,
                    group * d.group_stride,
                    (1, a.row_stride),
                    (b.row_stride, 1),
                ),
            };
            start += size;
            if m == 0 || n == 0 {
                continue;
            }
            let (lhs, rhs, out) = (&self.lhs[a_at..], &self.rhs[b_at..], &mut self.out[d_at..]);
            // SAFETY: the group's rows and matrices lie within the tensors, which have the problem's shapes.
            unsafe {
                gemm::gemm(
                    m,
                    n,
                    k,
                    out.as_mut_ptr(),
                    1,
                    d.row_stride as isize,
                    false,
                    lhs.as_ptr(),
                    a_strides.1 as isize,
                    a_strides.0 as isize,
                    rhs.as_ptr(),
                    b_strides.1 as isize,
                    b_strides.0 as isize,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::Rayon(0),
                );
            }
        }
    }
}

fn compare(c: &mut Criterion, name: &str, problem: &Problem, sizes: &[usize]) -> Result<(), Error> {
    let tensors = Tensors::random(problem, sizes, Values::Normal, 1)?;
    let plan = Planner::new(Device::cpu()).plan(problem)?;
    let mut out = tensors.out.try_clone().expect("memory for a copy");
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements((problem.flops() / 2.0) as u64));
    group.sample_size(20);
    if let Some(mut baseline) = Baseline::new(problem, &tensors, sizes) {
        group.bench_function(BenchmarkId::new("gemm-f32", problem.operation), |b| b.iter(|| baseline.run()));
    }
    group.bench_function(BenchmarkId::new("ggemm-bf16", problem.operation), |b| {
        b.iter(|| plan.run(tensors.args(&mut out)));
    });
    group.finish();
    Ok(())
}

fn all(c: &mut Criterion) {
    let few = vec![1024, 1024, 2048, 2048];
    let mut rng = Rng::new(2);
    let many = Spread::Zipf.sizes(64, 4096, &mut rng);
    let tokens = Spread::Ragged.sizes(64, 256, &mut rng);
    for operation in Operation::ALL {
        for (name, sizes, n, k) in [
            ("4-experts", &few, 512, 256),
            ("64-experts", &many, 512, 1024),
            ("64-experts-4-tokens", &tokens, 512, 1024),
        ] {
            let problem = Problem::new(operation, sizes.len(), sizes.iter().sum(), n, k);
            if let Err(error) = compare(c, name, &problem, sizes) {
                eprintln!("{name} {problem}: {error}");
            }
        }
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
