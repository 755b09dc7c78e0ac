//! How long it takes to build and write a kernel, and the whole catalogue.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use ggemm_codegen::{Arch, catalogue, generate};

fn emission(c: &mut Criterion) {
    let specs = catalogue::shipped_for(Arch::Sm90a);
    c.bench_function("emit one kernel", |b| b.iter(|| generate(&specs[3])));
    c.bench_function("emit the catalogue", |b| {
        b.iter(|| specs.iter().map(|s| generate(s).source().len()).sum::<usize>())
    });
}

criterion_group!(benches, emission);
criterion_main!(benches);
