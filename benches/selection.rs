//! What a choice among all shipped variants costs the host. `cargo bench --bench selection`.
//!
//! `select` is a choice that the planner made before, as a program's second plan for a problem is; `predict` and `tuned`
//! are first ones, by the cost model and by a table of a hundred entries on a machine that is made up.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ggemm::tune::{Entry, Machine, Routing, Table, Timing};
use ggemm::{Arch, Device, Dtype, Operation, Planner, Problem};

fn machine() -> Machine {
    Machine {
        gpu: "made up".into(),
        compute_capability: "9.0".into(),
        driver: "1.0".into(),
        ggemm: "0.0.0".into(),
        kernels: String::new(),
    }
}

/// Entries for layers of all sizes beside `problem`, whose variant is the one that is predicted to be best.
fn table(planner: &Planner, problem: &Problem) -> Table {
    let mut table = Table::default();
    for (groups, n) in (0..10).flat_map(|g| (1..=10).map(move |n| (1 << g, 512 * n))) {
        let mut other = problem.clone();
        (other.groups, other.n) = (groups, n);
        let variant = *planner.select(&other, Arch::Sm90a).expect("a variant").preferred().variant.spec();
        let best = Timing { variant, microseconds: 1.0 };
        table.insert(Entry { machine: machine(), problem: other, routing: Routing::Skewed, best, others: Vec::new() });
    }
    table
}

fn all(c: &mut Criterion) {
    let planner = Planner::new(Device::cpu());
    let mut group = c.benchmark_group("selection");
    for operation in Operation::ALL {
        let output = if operation == Operation::GradW { Dtype::F32 } else { Dtype::Bf16 };
        let problem = Problem::new(operation, 64, 8192, 1536, 2048).output(output);
        let tuned = planner.clone().table(table(&planner, &problem)).assume(machine());
        let choice = tuned.select(&problem, Arch::Sm90a).expect("a variant");
        assert!(choice.tuning().is_some());
        group.bench_function(BenchmarkId::new("select", operation), |b| {
            b.iter(|| tuned.select(black_box(&problem), Arch::Sm90a));
        });
        // A planner that was just made knows no choice of before.
        group.bench_function(BenchmarkId::new("predict", operation), |b| {
            b.iter(|| planner.clone().batch_invariant(false).select(black_box(&problem), Arch::Sm90a));
        });
        group.bench_function(BenchmarkId::new("tuned", operation), |b| {
            b.iter(|| tuned.clone().batch_invariant(false).select(black_box(&problem), Arch::Sm90a));
        });
        group.bench_function(BenchmarkId::new("explain", operation), |b| {
            b.iter(|| planner.explain(black_box(&problem), Arch::Sm90a));
        });
    }
    group.finish();
}

criterion_group!(benches, all);
criterion_main!(benches);
