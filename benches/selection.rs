//! What a choice among all shipped variants costs the host. `cargo bench --bench selection`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ggemm::{Arch, Device, Dtype, Operation, Planner, Problem};

fn all(c: &mut Criterion) {
    let planner = Planner::new(Device::cpu());
    let mut group = c.benchmark_group("selection");
    for operation in Operation::ALL {
        let output = if operation == Operation::GradW { Dtype::F32 } else { Dtype::Bf16 };
        let problem = Problem::new(operation, 64, 8192, 1536, 2048).output(output);
        group.bench_function(BenchmarkId::new("select", operation), |b| {
            b.iter(|| planner.select(black_box(&problem), Arch::Sm90a));
        });
        group.bench_function(BenchmarkId::new("explain", operation), |b| {
            b.iter(|| planner.explain(black_box(&problem), Arch::Sm90a));
        });
    }
    group.finish();
}

criterion_group!(benches, all);
criterion_main!(benches);
