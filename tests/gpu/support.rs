//! Problems on a GPU and their references.

use std::process::{Command, ExitCode, Output};

use ggemm::cuda::Stream;
use ggemm::random::{Tensors, Values};
use ggemm::{Args, Buffer, Comparison, Device, Mode, Operand, Plan, Planner, Problem, Reference};

/// A test by its name.
pub(crate) type Test = (&'static str, fn(&Device));

/// Which part of a test a child process plays.
const PART: &str = "GGEMM_GPU_TEST_PART";

/// This program again, to play a part; what it prints and how it ends.
pub(crate) fn child(part: &str, environment: &[(&str, &str)]) -> Output {
    let program = std::env::current_exe().expect("the program knows its own path");
    let mut command = Command::new(program);
    command.env(PART, part).envs(environment.iter().copied());
    command.output().expect("the program starts")
}

/// Plays the part that [`child`] asked for, if this is such a process.
pub(crate) fn part_of_a_child() -> Option<ExitCode> {
    let part = std::env::var(PART).ok()?;
    let play = match part.as_str() {
        "fault" => crate::faults::fault,
        "forward" => crate::code::forward,
        other => panic!("no part is called {other}"),
    };
    play(&Device::probe().expect("the parent found a GPU"));
    Some(ExitCode::SUCCESS)
}

/// A problem's tensors on the host and on the GPU.
pub(crate) struct OnGpu {
    pub(crate) problem: Problem,
    pub(crate) host: Tensors,
    pub(crate) lhs: Buffer,
    pub(crate) rhs: Buffer,
    /// The scales of both operands, for fp8.
    pub(crate) scales: Option<[Buffer; 2]>,
    pub(crate) groups: Buffer,
    pub(crate) out: Buffer,
}

impl OnGpu {
    pub(crate) fn new(device: &Device, problem: &Problem, sizes: &[usize], values: Values, seed: u64) -> Self {
        let host = Tensors::random(problem, sizes, values, seed).unwrap();
        let to = |buffer: &Buffer| buffer.to_device(device).unwrap();
        OnGpu {
            lhs: to(&host.lhs),
            rhs: to(&host.rhs),
            scales: host.scales.as_ref().map(|scales| scales.each_ref().map(to)),
            groups: to(&host.groups),
            out: to(&host.out),
            problem: problem.clone(),
            host,
        }
    }

    pub(crate) fn args(&mut self) -> Args<'_> {
        let operation = self.problem.operation;
        match &self.scales {
            None => Args::new(operation, &self.lhs, &self.rhs, &self.groups, &mut self.out),
            Some([of_lhs, of_rhs]) => {
                let (lhs, rhs) = (Operand::scaled(&self.lhs, of_lhs), Operand::scaled(&self.rhs, of_rhs));
                Args::new(operation, lhs, rhs, &self.groups, &mut self.out)
            }
        }
    }

    pub(crate) fn run(&mut self, plan: &Plan) {
        plan.run(self.args()).unwrap();
    }

    pub(crate) fn run_on(&mut self, plan: &Plan, stream: &Stream) {
        plan.run_on(stream, self.args()).unwrap();
    }

    /// The output as it is now, held against the reference for the sizes that it was made with.
    pub(crate) fn compare(&self, mode: Mode) -> Comparison {
        self.compare_for(&self.host.groups, mode)
    }

    /// The same for other sizes or ends.
    pub(crate) fn compare_for(&self, groups: &Buffer, mode: Mode) -> Comparison {
        let ([lhs, rhs], before) = (self.host.operands(), &self.host.out);
        let reference = Reference::compute(&self.problem, lhs.clone(), rhs.clone(), groups, before, &|_| ()).unwrap();
        let arch = self.out.device().arch().expect("a GPU's output");
        let reference = reference.of_tensor_cores(arch, lhs, rhs).unwrap();
        reference.compare(before, &self.out.to_device(&Device::cpu()).unwrap(), mode).unwrap()
    }

    #[track_caller]
    pub(crate) fn check(&self) {
        let comparison = self.compare(Mode::Exact);
        assert!(comparison.pass(), "`{}`: {comparison}", self.problem);
    }
}

/// A small problem of whole numbers, whose results have one right value.
pub(crate) fn small(device: &Device, seed: u64) -> (Plan, OnGpu) {
    let problem = Problem::forward(5, 300, 136, 72);
    let plan = Planner::new(device.clone()).plan(&problem).unwrap();
    (plan, OnGpu::new(device, &problem, &[100, 0, 57, 143, 0], Values::SmallIntegers, seed))
}

/// The bytes of a buffer, copied to the host.
pub(crate) fn bytes(buffer: &Buffer) -> Vec<u8> {
    buffer.to_device(&Device::cpu()).unwrap().as_bytes().unwrap_or_default().to_vec()
}
