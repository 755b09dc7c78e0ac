//! What the kernels are run on.

use ggemm_codegen::interp::cases::{Case, Data};
use ggemm_codegen::interp::{ElementKind, Finding, Memory, Policy, Settings, run};
use ggemm_codegen::ir::Kernel;
use ggemm_codegen::{Dtype, Major, Problem, Tail, WeightLayout};

use crate::kernels::{self, Gemm};

/// A kernel with problems that it must compute.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// CTAs of a launch: two clusters.
    pub(crate) ctas: usize,
    pub(crate) kernel: Kernel,
    pub(crate) cases: Vec<Case>,
}

/// What is wrong with a run.
#[derive(Debug)]
pub(crate) enum Wrong {
    Finding(Box<Finding>),
    Value(String),
}

impl Subject {
    /// Runs a kernel in place of the subject's own.
    pub(crate) fn run(&self, kernel: &Kernel, case: &Case, settings: Settings) -> Result<u64, Wrong> {
        let mut memory = case.memory();
        let done = run(kernel, case.contraction(), &mut memory, settings).map_err(Wrong::Finding)?;
        case.check(&memory).map_err(|wrong| Wrong::Value(format!("{case}, {settings}: {wrong}")))?;
        Ok(done.statements)
    }

    pub(crate) fn rows(gemm: Gemm, problems: &[(&[i64], usize, usize, usize)]) -> Subject {
        Subject::of_rows(gemm, kernels::ragged_rows(&gemm), problems)
    }

    fn of_rows(gemm: Gemm, kernel: Kernel, problems: &[(&[i64], usize, usize, usize)]) -> Subject {
        let cases = problems
            .iter()
            .enumerate()
            .map(|(seed, (groups, past, n, k))| {
                let rows = groups.iter().sum::<i64>() as usize + past;
                let layout = if gemm.b_major == Major::K { WeightLayout::Nk } else { WeightLayout::Kn };
                let problem = Problem::forward(groups.len(), rows, *n, *k)
                    .output(gemm.output)
                    .weight_layout(layout)
                    .tail(Tail::Untouched);
                Case::new(problem, groups, seed as u64, Data::Integers).expect("a problem")
            })
            .collect();
        Subject { name: gemm.name, ctas: 2 * gemm.cluster as usize, kernel, cases }
    }

    fn swapped(gemm: Gemm, problems: &[(&[i64], usize, usize, usize)]) -> Subject {
        Subject::of_rows(gemm, kernels::swapped_rows(&gemm), problems)
    }

    fn reduction(gemm: Gemm, problems: &[(&[i64], usize, usize, usize)]) -> Subject {
        let cases = problems
            .iter()
            .enumerate()
            .map(|(seed, (groups, past, n, k))| {
                let rows = groups.iter().sum::<i64>() as usize + past;
                let problem = Problem::grad_w(groups.len(), rows, *n, *k).output(gemm.output).accumulate(gemm.add);
                Case::new(problem, groups, seed as u64, Data::Integers).expect("a problem")
            })
            .collect();
        Subject { name: gemm.name, ctas: 2 * gemm.cluster as usize, kernel: kernels::ragged_reduction(&gemm), cases }
    }
}

/// Small kernels, each for some of the statements.
pub(crate) fn subjects() -> Vec<Subject> {
    let small = Gemm::SMALL;
    vec![
        // The sizes around a tile; several blocks of the reduction; columns that end in a tile.
        Subject::rows(
            small,
            &[(&[65, 0, 3], 5, 40, 200), (&[2, 64], 0, 32, 64), (&[1, 1], 1, 8, 0), (&[130], 0, 32, 136)],
        ),
        Subject::rows(
            Gemm {
                name: "two_warpgroups",
                warpgroups: 2,
                n: 64,
                b_major: Major::Mn,
                stages: 3,
                output: Dtype::F32,
                ..small
            },
            &[(&[70, 0, 3, 129], 2, 72, 328), (&[1], 0, 64, 64)],
        ),
        // Even and odd numbers of blocks, so that the last one lies in either slot.
        Subject::rows(
            Gemm { name: "cluster", cluster: 2, ..small },
            &[(&[65, 0, 3], 5, 40, 200), (&[2, 64], 0, 72, 72), (&[9], 0, 32, 136), (&[9], 0, 32, 8)],
        ),
        Subject::rows(
            Gemm { name: "pingpong", pingpong: true, warpgroups: 2, stages: 3, ..small },
            &[(&[65, 0, 3, 130], 5, 72, 200), (&[9], 0, 32, 64), (&[200], 0, 8, 328)],
        ),
        // 24 and 48 rows of a group are wgmma's columns: two sums of 64 columns each, in a tile that both fill.
        Subject::swapped(Gemm { name: "swapped", n: 16, ..small }, &[(&[17, 0, 3], 5, 72, 72), (&[5, 48], 0, 64, 200)]),
        Subject::swapped(
            Gemm { name: "swapped_f32", n: 48, warpgroups: 2, output: Dtype::F32, ..small },
            &[(&[17, 0, 50], 5, 136, 328)],
        ),
        Subject::reduction(
            Gemm { name: "reduction", n: 64, output: Dtype::F32, ..small },
            &[(&[65, 0, 3], 5, 72, 72), (&[130, 330], 0, 64, 64)],
        ),
        Subject::reduction(
            Gemm { name: "reduction_added", n: 64, output: Dtype::F32, add: true, ..small },
            &[(&[65, 0, 3], 5, 72, 72), (&[130, 330], 0, 64, 64)],
        ),
    ]
}

/// One tile of 128 × 256 a group, with five groups.
pub(crate) fn large() -> Subject {
    let gemm = Gemm { name: "large", n: 256, stages: 3, warpgroups: 2, registers: Some((40, 232)), ..Gemm::SMALL };
    Subject::rows(gemm, &[(&[128, 1, 0, 100, 27], 0, 256, 64)])
}

/// Memory for the copying kernel: `rows` × 64 integers.
pub(crate) fn copy_memory(rows: usize) -> (ggemm_codegen::Contraction, Memory) {
    let problem = Problem::forward(1, rows, 64, 64).contraction();
    let mut memory = Memory::for_problem(&problem);
    memory.a.fill(|i| (i % 200) as f32);
    assert_eq!(memory.d.kind(), ElementKind::Float(Dtype::Bf16));
    (problem, memory)
}

/// Every policy with some seeds.
pub(crate) fn schedules(seeds: u64, ctas: usize) -> impl Iterator<Item = Settings> {
    Policy::ALL
        .into_iter()
        .flat_map(move |policy| (0..seeds).map(move |seed| Settings { policy, seed, ctas, ..Settings::default() }))
}
