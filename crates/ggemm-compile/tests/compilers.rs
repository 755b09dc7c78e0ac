//! The real compilers. `cargo xtask test` runs these with the toolkit it fetched:
//! `CUDA_HOME=$(cargo xtask cuda) cargo test -p ggemm-compile -- --ignored`.

#![cfg(feature = "nvrtc")]
// Helpers of tests may panic as tests do; clippy exempts only the tests themselves.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use ggemm_compile::{
    Cache, CacheLocation, CompileError, Compiler, Cubin, Nvcc, Nvrtc, Options, Origin, Request, compile,
};

const SAXPY: &str = r#"
extern "C" __global__ void __launch_bounds__(256) saxpy(const float* x, float* y, float a, int n) {
    __shared__ float tile[256];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    tile[threadIdx.x] = i < n ? x[i] : 0.0f;
    __syncthreads();
    if (i < n) y[i] += a * tile[255 - threadIdx.x];
}
"#;

/// Arithmetic on an accumulator in flight: ptxas serializes the wgmma and says so.
const SERIALIZED: &str = r#"
extern "C" __global__ void __launch_bounds__(128) serial(float* out, unsigned long long a, unsigned long long b, int n) {
    float d[4] = {0, 0, 0, 0};
    for (int i = 0; i < n; ++i) {
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
        asm volatile("{ wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0,%1,%2,%3}, %4, %5, 1, 1, 1, 0, 0; }"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(a), "l"(b));
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        if (n > 5) d[0] += 1.0f;
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    }
    out[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}
"#;

/// More live values than registers, and an array indexed at run time.
const SPILLING: &str = r#"
extern "C" __global__ void __maxnreg__(32) spilling(const float* x, float* y, int n) {
    float a[96];
    #pragma unroll
    for (int i = 0; i < 96; ++i) a[i] = x[i * n + threadIdx.x];
    #pragma unroll 1
    for (int r = 0; r < n; ++r) {
        #pragma unroll
        for (int i = 0; i < 96; ++i) a[i] = a[i] * a[(i * 7 + 3) % 96] + 1.0f;
    }
    #pragma unroll
    for (int i = 0; i < 96; ++i) y[i * n + threadIdx.x] = a[i];
}
"#;

fn compilers() -> Vec<Compiler> {
    vec![Nvcc::find().unwrap().into(), Nvrtc::find().unwrap().into()]
}

fn try_with(
    compiler: &Compiler,
    name: &str,
    source: &str,
    target: &str,
    options: Options,
) -> Result<Cubin, CompileError> {
    compile(compiler, &Request { name, source, target: &target.parse().unwrap(), options })
}

fn with(compiler: &Compiler, source: &str, target: &str) -> Cubin {
    try_with(compiler, "kernel", source, target, Options::default()).unwrap()
}

#[test]
#[ignore = "needs nvcc and NVRTC"]
fn every_architecture_compiles_with_facts() {
    for compiler in compilers() {
        for target in ["sm_80", "sm_89", "sm_90a", "sm_100a", "sm_120a"] {
            let cubin = with(&compiler, SAXPY, target);
            let facts = cubin.facts.unwrap_or_else(|| panic!("{compiler} {target}: no facts in\n{}", cubin.log));
            println!("{compiler} {target}: {} bytes, {facts:?}", cubin.bytes.len());
            assert!((8..=32).contains(&facts.registers), "{compiler} {target}: {facts:?}");
            assert_eq!((facts.shared_bytes, facts.barriers, facts.stack_bytes), (1024, 1, 0));
            assert!(!facts.spills() && cubin.warnings.is_empty(), "{}", cubin.log);
        }
    }
}

#[test]
#[ignore = "needs nvcc and NVRTC"]
fn spills_are_seen() {
    for compiler in compilers() {
        let facts = with(&compiler, SPILLING, "sm_90a").facts.unwrap();
        assert!(facts.spills() && facts.stack_bytes > 0, "{compiler}: {facts:?}");
        assert_eq!(facts.registers, 32, "{compiler}");
    }
}

#[test]
#[ignore = "needs nvcc and NVRTC"]
fn serialized_wgmma_is_seen() {
    for compiler in compilers() {
        let cubin = with(&compiler, SERIALIZED, "sm_90a");
        let serialized = |line: &String| line.contains("wgmma.mma_async instructions are serialized");
        assert!(cubin.warnings.iter().any(serialized), "{compiler}: {}", cubin.log);
    }
}

#[test]
#[ignore = "needs nvcc and NVRTC"]
fn refusals_carry_the_log() {
    for compiler in compilers() {
        let error = try_with(&compiler, "wrong", "__global__ void k() { undeclared(); }", "sm_90a", Options::default())
            .unwrap_err();
        let CompileError::Refused { log, name, .. } = error else { panic!("{compiler}: {error}") };
        assert!(log.contains("wrong.cu(1)") && log.contains("undeclared") && name == "wrong", "{compiler}: {log}");
        // wgmma needs the suffix.
        let error = try_with(&compiler, "k", SERIALIZED, "sm_90", Options::default()).unwrap_err();
        assert!(matches!(&error, CompileError::Refused { .. }), "{compiler}: {error}");
    }
}

#[test]
#[ignore = "needs nvcc and NVRTC"]
fn an_unknown_architecture_is_an_error() {
    for compiler in compilers() {
        let error = try_with(&compiler, "k", SAXPY, "sm_999a", Options::default()).unwrap_err();
        assert!(error.to_string().contains("arch"), "{compiler}: {error}");
    }
}

#[test]
#[ignore = "needs nvcc and NVRTC"]
fn code_depends_on_comments_only_with_line_information() {
    let moved = SAXPY.replace("    __syncthreads", "    // a comment\n\n    __syncthreads");
    for compiler in compilers() {
        let bytes = |source: &str, line_info: bool| {
            let options = Options::default().with_line_info(line_info);
            try_with(&compiler, "kernel", source, "sm_90a", options).unwrap().bytes
        };
        assert_eq!(bytes(SAXPY, false), bytes(&moved, false), "{compiler}");
        assert_ne!(bytes(SAXPY, true), bytes(&moved, true), "{compiler}");
        assert_ne!(bytes(SAXPY, true), bytes(SAXPY, false), "{compiler}");
    }
}

/// nvcc adds what these variables hold to its flags, and the cache would not know.
#[test]
#[ignore = "needs nvcc and NVRTC"]
fn flags_in_the_environment_change_nothing() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "code_depends_on_comments_only_with_line_information"])
        .env("NVCC_PREPEND_FLAGS", "-lineinfo")
        .env("NVCC_APPEND_FLAGS", "-lineinfo")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "needs nvcc and NVRTC"]
fn the_cache_returns_what_was_compiled() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::open(CacheLocation::At(root.path().join("cache")));
    let disabled = Cache::open(CacheLocation::Disabled);
    let target = "sm_90a".parse().unwrap();
    let request = Request { name: "saxpy", source: SAXPY, target: &target, options: Options::default() };
    for compiler in compilers() {
        let (first, origin) = cache.get_or_compile(&compiler, &request).unwrap();
        assert_eq!(origin, Origin::Compiled);
        let (second, origin) = cache.get_or_compile(&compiler, &request).unwrap();
        assert_eq!((&second, origin), (&first, Origin::Hit));
        let (bypassed, origin) = disabled.get_or_compile(&compiler, &request).unwrap();
        assert_eq!(bypassed.bytes, first.bytes);
        assert!(matches!(origin, Origin::Bypassed(_)), "{origin}");
    }
}
