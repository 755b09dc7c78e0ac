//! What an expansion costs an editor, which expands at every keystroke. The promise is 50 ms without optimization:
//! `cargo bench -p ggemm-macros --profile dev --config 'profile.dev.package.ggemm-codegen.opt-level=0'`.
//!
//! A crate of macros exports no functions, so that the code is included.

// Checked as a test it has the tests in it, though not the harness that calls them.
#[cfg_attr(test, allow(dead_code, unused_imports))]
#[path = "../src/expand/mod.rs"]
mod expand;

use criterion::{Criterion, criterion_group, criterion_main};
use proc_macro2::TokenStream;

fn expansion(criterion: &mut Criterion) {
    let model = "ops: all, dtypes: [bf16], arch: [sm_80, sm_90a], shape: { n: 1536, k: 2048 }";
    let requests = [
        ("one model", model.to_owned()),
        ("one tile", format!("{model}, tiles: [128x128x64]")),
        ("the catalogue", "ops: all, dtypes: all, outputs: all, weights: all, arch: all, tiles: shipped".to_owned()),
        ("a mistake", format!("{model}, tiles: [512x512x64]")),
    ];
    let mut group = criterion.benchmark_group("expansion");
    for (name, request) in requests {
        let tokens: TokenStream = format!("[ggemm] pub mod experts {{ {request} }}").parse().unwrap_or_default();
        group.bench_function(name, |bencher| bencher.iter(|| expand::expand(tokens.clone(), &|_| None)));
    }
    group.finish();
}

criterion_group! { name = benches; config = Criterion::default().sample_size(20); targets = expansion }
criterion_main!(benches);
