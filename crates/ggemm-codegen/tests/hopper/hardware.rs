//! What a GPU is held against: with `GGEMM_HOPPER_DUMP=DIR`, each kernel's text is written there beside a file that says
//! how to launch it on what, and what the interpreter left in memory. Instances of the same kernels that are as large as
//! those that will ship come with shapes alone.

use std::fmt::Write as _;
use std::path::Path;

use ggemm_codegen::emit::cuda;
use ggemm_codegen::interp::cases::{Case, Data};
use ggemm_codegen::interp::{Buffer, Memory, Settings, run};
use ggemm_codegen::ir::{Kernel, ParamType};
use ggemm_codegen::launch::{Argument, Operand, argument};
use ggemm_codegen::problem::{IndexType, WeightSharing};
use ggemm_codegen::{Contraction, Dtype, Problem, Tail};
use serde_json::{Value, json};

use crate::ground::{Subject, copy_memory, large, subjects};
use crate::kernels::{self, Gemm};

#[test]
fn what_a_gpu_is_held_against() {
    let dir = std::env::var_os("GGEMM_HOPPER_DUMP");
    let dir = dir.as_ref().map(Path::new);
    for subject in subjects().into_iter().chain([large(), padded(), shared(), many_groups()]) {
        let ctas = [subject.ctas / 2, subject.ctas, 64 * subject.ctas];
        let cases = subject.cases.iter().map(|case| {
            let (before, mut after) = (case.memory(), case.memory());
            let settings = Settings { ctas: subject.ctas, ..Settings::default() };
            run(&subject.kernel, case.contraction(), &mut after, settings).unwrap_or_else(|f| panic!("{case}\n{f}"));
            case.check(&after).unwrap_or_else(|wrong| panic!("{}, {case}: {wrong}", subject.name));
            written_down(&subject.kernel, case.to_string(), case.contraction(), &ctas, &before, &after)
        });
        write(dir, &subject.kernel, subject.name, &cases.collect());
    }
    let kernel = kernels::dynamic_copy();
    let cases = [1, 8, 9, 100, 1000].map(|rows| {
        let ((problem, before), (_, mut after)) = (copy_memory(rows), copy_memory(rows));
        let settings = Settings { ctas: 3, ..Settings::default() };
        run(&kernel, &problem, &mut after, settings).unwrap_or_else(|f| panic!("{rows} rows\n{f}"));
        written_down(&kernel, format!("{rows} rows"), &problem, &[1, 3, 264], &before, &after)
    });
    write(dir, &kernel, "dynamic_copy", &cases.into());
    for (kernel, tile) in shipping() {
        let cases = problems().map(|(name, problem)| {
            let c = problem.contraction();
            let mut case = launch(&kernel, &c);
            case["label"] = json!(name);
            case["tile"] = json!(tile);
            case["shape"] = json!([c.groups, c.rows, c.cols, c.reduction]);
            case
        });
        write(dir, &kernel, &kernel.contract.name, &cases.into());
    }
}

/// Rows, columns and matrices with room between them.
fn padded() -> Subject {
    let mut subject = Subject::rows(Gemm { name: "padded", ..Gemm::SMALL }, &[]);
    let problem = Problem::forward(4, 141, 40, 200).tail(Tail::Untouched);
    let problem = problem.x_row_stride(216).y_row_stride(56).w_row_stride(208).w_group_stride(40 * 208 + 24);
    subject.cases.push(Case::new(problem, &[64, 1, 0, 70], 7, Data::Integers).expect("a problem"));
    subject
}

/// One weight for all groups: a map whose matrices are 0 bytes apart.
fn shared() -> Subject {
    let mut subject = Subject::rows(Gemm { name: "shared_weight", ..Gemm::SMALL }, &[]);
    let problem = Problem::forward(3, 75, 40, 136).weight_sharing(WeightSharing::Shared).tail(Tail::Untouched);
    subject.cases.push(Case::new(problem, &[65, 3, 4], 8, Data::Integers).expect("a problem"));
    subject
}

/// More groups than a warp has lanes, most of them small, many empty, one large.
fn many_groups() -> Subject {
    let groups: Vec<i64> = (0..70).map(|g| if g == 33 { 300 } else { [0, 1, 0, 5, 64, 0, 65][g % 7] }).collect();
    Subject::rows(Gemm { name: "many_groups", ..Gemm::SMALL }, &[(&groups, 9, 40, 72)])
}

/// Kernels as large as those that will ship, with the rows and columns of a cluster's tile.
fn shipping() -> Vec<(Kernel, [u32; 2])> {
    let base = Gemm { stages: 3, warpgroups: 2, n: 256, registers: Some((40, 232)), ..Gemm::SMALL };
    let pingpong = Gemm { pingpong: true, blocks: 2, n: 128, stages: 5, ..base };
    let rows = [
        Gemm { name: "rows_128x256x64_s3", ..base },
        Gemm { name: "rows_128x256x64_s2", stages: 2, ..base },
        Gemm { name: "rows_128x192x64_s3", n: 192, ..base },
        Gemm { name: "rows_128x192x64_s4", n: 192, stages: 4, ..base },
        Gemm { name: "rows_256x128x64_s3", blocks: 2, n: 128, ..base },
        Gemm { name: "rows_128x256x64_s3_c2", cluster: 2, ..base },
        Gemm { name: "rows_128x192x64_s4_c2", n: 192, stages: 4, cluster: 2, ..base },
        Gemm { name: "rows_256x128x64_s3_c2", blocks: 2, n: 128, cluster: 2, ..base },
        Gemm { name: "pingpong_64x256x64_s4", blocks: 1, n: 256, stages: 4, ..pingpong },
        Gemm { name: "pingpong_128x128x64_s5", ..pingpong },
        Gemm { name: "pingpong_128x128x64_s5_c2", cluster: 2, ..pingpong },
    ];
    let swapped = [
        Gemm { name: "swapped_128x176x64_s4", n: 176, stages: 4, ..base },
        Gemm { name: "swapped_128x256x64_s3", ..base },
    ];
    let of_rows = rows.iter().map(|g| {
        let rows = if g.pingpong { 64 * g.blocks } else { 128 * g.blocks };
        (kernels::ragged_rows(g), [rows, g.n * g.cluster])
    });
    of_rows.chain(swapped.iter().map(|g| (kernels::swapped_rows(g), [g.n, 128]))).collect()
}

fn problems() -> [(&'static str, Problem); 4] {
    let forward = |groups, rows, n, k| Problem::forward(groups, rows, n, k).output(Dtype::Bf16).tail(Tail::Untouched);
    [
        ("skewed", forward(70, 9000, 1992, 1096)),
        ("olmoe-up", forward(64, 64 * 1024, 2048, 2048)),
        ("qwen3-up", forward(128, 128 * 512, 1536, 2048)),
        ("dsv3-up", forward(8, 8 * 4096, 4096, 7168)),
    ]
}

fn name(operand: Operand) -> &'static str {
    match operand {
        Operand::A => "a",
        Operand::B => "b",
        Operand::D => "d",
        Operand::Groups => "groups",
        Operand::Workspace => "workspace",
        Operand::AScales => "a_scales",
        Operand::BScales => "b_scales",
        other => unreachable!("{other:?} is no product's"),
    }
}

/// The values of a kernel's parameters for a problem, in order.
fn launch(kernel: &Kernel, c: &Contraction) -> Value {
    let args = kernel.contract.params.iter().map(|p| match (p.ty, argument(p.role, c)) {
        (ParamType::TensorMap(map), Argument::Pointer(operand)) => {
            let recipe = &kernel.contract.tensor_maps[map.0 as usize];
            let shape = match operand {
                Operand::A => &c.a,
                Operand::B => &c.b,
                _ => &c.d,
            };
            let map = recipe.encode(shape);
            json!({ "map": name(operand), "dtype": recipe.dtype, "swizzle": recipe.swizzle_bytes,
                "extents": map.extents, "strides": map.strides, "counts": map.counts })
        }
        (_, Argument::Pointer(operand)) => json!({ "pointer": name(operand) }),
        (ParamType::Bool, Argument::Integer(value)) => json!({ "bytes": 1, "value": value }),
        (ParamType::I64, Argument::Integer(value)) => json!({ "bytes": 8, "value": value }),
        (_, Argument::Integer(value)) => json!({ "bytes": 4, "value": value }),
    });
    json!({ "args": args.collect::<Vec<_>>() })
}

/// A launch with what is in memory before and after, as hexadecimal bytes.
fn written_down(
    kernel: &Kernel,
    label: String,
    c: &Contraction,
    ctas: &[usize],
    before: &Memory,
    after: &Memory,
) -> Value {
    let mut case = launch(kernel, c);
    case["label"] = json!(label);
    case["ctas"] = json!(ctas);
    let floats = |b: &Buffer, d: Dtype| hex(b.bits(), d.size_bytes() as usize);
    case["memory"] = json!({
        "a": floats(&before.a, c.a.dtype),
        "b": floats(&before.b, c.b.dtype),
        "d": floats(&before.d, c.d.dtype),
        "groups": hex(before.groups.bits(), if c.group_index == IndexType::I64 { 8 } else { 4 }),
    });
    case["element_bytes"] = json!(c.d.dtype.size_bytes());
    case["after"] = json!(floats(&after.d, c.d.dtype));
    case["written"] =
        json!((0..after.d.len()).map(|i| if after.d.was_written(i) { '1' } else { '0' }).collect::<String>());
    case
}

fn hex(words: &[u64], bytes: usize) -> String {
    words.iter().flat_map(|w| w.to_le_bytes().into_iter().take(bytes)).fold(String::new(), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

fn write(dir: Option<&Path>, kernel: &Kernel, name: &str, cases: &Vec<Value>) {
    let Some(dir) = dir else { return };
    std::fs::create_dir_all(dir).expect("a folder");
    std::fs::write(dir.join(format!("{name}.cu")), cuda::emit(kernel).text()).expect("a text");
    let all = json!({ "contract": kernel.contract, "cases": cases });
    std::fs::write(dir.join(format!("{name}.json")), all.to_string()).expect("a file");
}
