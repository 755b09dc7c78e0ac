//! From a problem to a plan.

use std::sync::Arc;

#[cfg(feature = "cuda")]
use ggemm_codegen::kernels::realign::Realigned;
use ggemm_codegen::{Arch, KernelSpec, Problem};
use ggemm_table::{Machine, Routing, Table};

use crate::baked::KernelSet;
use crate::cpu::CpuPlan;
#[cfg(feature = "cuda")]
use crate::cuda::CudaPlan;
use crate::device::{Device, DeviceKind};
use crate::error::Error;
#[cfg(feature = "interpret")]
use crate::interpret::{Interpretation, InterpretedPlan};
use crate::plan::{Backend, Choice, Plan};
use crate::select::{Explanation, Memo, ReadSet, Rule, Selection, Tuned};
use crate::tune;

/// Makes plans for one device.
///
/// ```
/// use ggemm_runtime::{Device, Planner, Problem};
/// let planner = Planner::new(Device::cpu());
/// let plan = planner.plan(&Problem::forward(8, 4096, 1536, 2048))?;
/// assert_eq!(plan.variant().to_string(), "cpu (asked for)");
/// # Ok::<(), ggemm_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Planner {
    device: Device,
    /// In the order of preference: the caller's, then the runtime's own.
    sets: Vec<&'static ReadSet>,
    tuned: Tuned,
    pin: Option<KernelSpec>,
    batch_invariant: bool,
    checked: bool,
    copy_limit: usize,
    /// What was chosen before, in this state: whatever changes a choice starts another.
    memo: Arc<Memo>,
    #[cfg(feature = "interpret")]
    interpretation: Option<Interpretation>,
}

impl Planner {
    /// See [`Planner::copy_limit`]: 2 GiB.
    pub const DEFAULT_COPY_LIMIT: usize = 2 << 30;

    /// A planner that chooses freely from the runtime's own [`catalogue`](crate::catalogue): what was measured to be
    /// fastest on this machine, where somebody tuned the problem, else what is predicted to be, corrected by what was
    /// measured of problems nearby.
    pub fn new(device: Device) -> Self {
        Planner {
            tuned: Tuned { machine: tune::machine(&device), ..Tuned::default() },
            device,
            sets: vec![ReadSet::shipped()],
            pin: None,
            batch_invariant: false,
            checked: false,
            copy_limit: Self::DEFAULT_COPY_LIMIT,
            memo: Arc::default(),
            #[cfg(feature = "interpret")]
            interpretation: None,
        }
    }

    /// Chooses from `set` too. Of variants that are predicted to take the same time, those of the set that was given
    /// first win, and the runtime's own come last. A set that was baked for a table brings that table along.
    pub fn with(mut self, set: &KernelSet) -> Self {
        let own = self.sets.len().saturating_sub(1);
        self.sets.insert(own, ReadSet::of(set));
        if !set.table.is_empty() {
            self.tuned.tables.push(Arc::new(Table::parse(set.table)));
        }
        self.forgetful()
    }

    /// Chooses by what `table` says was measured on this machine. Tables that were given first come first, then the
    /// user's own (`GGEMM_TABLE`, by default `tuned.jsonl` beside the compile cache), then those that ship; and where
    /// none has an entry of the problem, the cost model chooses, corrected by the entries of problems nearby.
    ///
    /// ```
    /// use ggemm_runtime::tune::Table;
    /// use ggemm_runtime::{Device, Planner};
    /// # let text = "";
    /// let planner = Planner::new(Device::best()).table(Table::whole(text)?);
    /// # Ok::<(), ggemm_runtime::tune::TableError>(())
    /// ```
    pub fn table(mut self, table: impl Into<Arc<Table>>) -> Self {
        self.tuned.tables.push(table.into());
        self.forgetful()
    }

    /// Chooses by `table` alone: neither by the user's own, nor by those that ship, nor by any that was given before.
    pub fn only_table(mut self, table: impl Into<Arc<Table>>) -> Self {
        (self.tuned.tables, self.tuned.only_callers) = (vec![table.into()], true);
        self.forgetful()
    }

    /// How rows are spread over groups, as far as is known before the launch: of what was measured, the entry that is
    /// so too is nearer, and predictions count the tiles of such groups (of [`Routing::Single`] those of skewed ones).
    /// [`Routing::Skewed`] unless it is said.
    pub fn routing(mut self, routing: Routing) -> Self {
        self.tuned.routing = routing;
        self.forgetful()
    }

    /// Chooses as on this machine, whatever the device is: to see what a table does on a machine that is not at hand.
    pub fn assume(mut self, machine: Machine) -> Self {
        self.tuned.machine = Some(machine);
        self.forgetful()
    }

    /// The machine whose measurements count; `None` for the CPU.
    pub fn machine(&self) -> Option<&Machine> {
        self.tuned.machine.as_ref()
    }

    /// Another planner from here on, whose clones from before keep what they know.
    fn forgetful(mut self) -> Self {
        self.memo = Arc::default();
        self
    }

    /// Uses this kernel variant, and no other, for every plan. One of the planner's sets must hold it.
    pub fn pin(mut self, spec: KernelSpec) -> Self {
        self.pin = Some(spec);
        self.forgetful()
    }

    /// Makes a row's result independent of the other rows, to the bit: of their number, their values and their groups.
    /// The CPU's results always are.
    ///
    /// On a GPU the variant is then chosen by N, K, types, layouts and strides alone, as if M were
    /// [`TYPICAL_ROWS`](crate::TYPICAL_ROWS) in [`TYPICAL_GROUPS`](crate::TYPICAL_GROUPS) groups. Among measurements the
    /// nearest to such a batch decides: the tables are then part of what a result depends on. Tensors at addresses
    /// that are no multiples of 16 bytes take another variant than those that are: keep them alike.
    pub fn batch_invariant(mut self, on: bool) -> Self {
        self.batch_invariant = on;
        self.forgetful()
    }

    /// The most bytes that copies of a problem's operands may take, [`Planner::DEFAULT_COPY_LIMIT`] unless it is said; 0:
    /// none are made.
    ///
    /// Where rows of an operand do not start at multiples of 16 bytes, Hopper's copy engine cannot address it. A plan then
    /// copies it before each product, or its kernel loads it by threads, whichever is predicted to be faster: copies are
    /// where groups have many rows. Memory for them is allocated when the plan is made, and shared by all plans of a GPU,
    /// whose runs wait for each other, on whatever stream they are. In a capture of another framework no copies are made.
    ///
    /// Where the memory is not to be had, none are made either, unless the plan is pinned or batch-invariant.
    ///
    /// A batch-invariant plan decides by the batch that it assumes, and makes copies of the one that it gets.
    pub fn copy_limit(mut self, bytes: usize) -> Self {
        self.copy_limit = bytes;
        self.forgetful()
    }

    /// Checks sizes or ends before computing and reports what contradicts the problem, at the price of a
    /// synchronization on a GPU. The CPU always checks.
    pub fn checked(mut self, on: bool) -> Self {
        self.checked = on;
        self
    }

    /// Computes with the kernel that a GPU of the interpretation's architecture would run, in the interpreter of the
    /// kernel's IR and on the host's memory: for checking kernels, far slower than the CPU backend.
    ///
    /// The device becomes the CPU. All else is as on a GPU: the variant is selected or pinned, and sizes or ends are
    /// clamped, not refused, unless the planner is [`checked`](Planner::checked). A breach of the kernel's protocol is
    /// [`Error::Finding`].
    ///
    /// ```
    /// use ggemm_runtime::interpret::Interpretation;
    /// use ggemm_runtime::{Args, Device, Planner, Problem, bf16};
    /// let planner = Planner::new(Device::cpu()).interpret(Interpretation::default());
    /// let plan = planner.plan(&Problem::forward(2, 3, 8, 8))?;
    /// let (x, w) = ([bf16::ONE; 24], [bf16::ONE; 128]);
    /// let mut y = [bf16::ZERO; 24];
    /// plan.run(Args::forward(&x, &w, &[2_i32, 1], &mut y))?;
    /// assert_eq!(y.map(bf16::to_f32), [8.0; 24]);
    /// assert!(plan.variant().reason().starts_with("interpreted for sm_90a"));
    /// # Ok::<(), ggemm_runtime::Error>(())
    /// ```
    #[cfg(feature = "interpret")]
    pub fn interpret(mut self, interpretation: Interpretation) -> Self {
        if self.device.kind() != DeviceKind::Cpu {
            self.device = Device::cpu();
        }
        self.tuned.machine = None;
        self.memo = Arc::default();
        self.interpretation = Some(interpretation);
        self
    }

    /// Whether plans run in the interpreter.
    #[cfg(feature = "interpret")]
    pub fn is_interpreted(&self) -> bool {
        self.interpretation.is_some()
    }

    /// Whether plans compute as the CPU backend does, not as a GPU does.
    fn on_cpu_backend(&self) -> bool {
        #[cfg(feature = "interpret")]
        if self.interpretation.is_some() {
            return false;
        }
        self.device.kind() == DeviceKind::Cpu
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether plans are batch-invariant: because it was asked for, or because the CPU's results always are.
    pub fn is_batch_invariant(&self) -> bool {
        self.batch_invariant || self.on_cpu_backend()
    }

    /// Whether plans check sizes or ends: because it was asked for, or because the CPU always does.
    pub fn is_checked(&self) -> bool {
        self.checked || self.on_cpu_backend()
    }

    /// Which variant this planner would use for `problem` on a GPU of `arch`. It needs no GPU.
    ///
    /// # Errors
    /// [`Error::Problem`] for a problem that means nothing, [`Error::Pin`] for a pinned variant that cannot compute it,
    /// [`Error::NoFp8Kernel`] for fp8 operands that no
    /// kernel multiplies, [`Error::UnreadableKernel`] for a set that another version of ggemm baked.
    pub fn select(&self, problem: &Problem, arch: Arch) -> Result<Selection, Error> {
        if let Some(selection) = self.memo.get(problem, arch) {
            return Ok(selection);
        }
        problem.validate()?;
        let selection = Selection::new(&self.sets, &self.tuned, problem, arch, self.rule(), self.copy_limit)?;
        self.memo.keep(problem, arch, selection);
        Ok(selection)
    }

    /// The same with all that was weighed, for people: its `Display` lists every variant for this kind of product.
    ///
    /// ```
    /// use ggemm_runtime::{Arch, Device, Planner, Problem};
    /// let planner = Planner::new(Device::cpu());
    /// let explanation = planner.explain(&Problem::forward(8, 4096, 1536, 2048), Arch::Sm90a)?;
    /// println!("{explanation}");
    /// assert!(explanation.candidates().len() > 1);
    /// # Ok::<(), ggemm_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Planner::select`].
    pub fn explain(&self, problem: &Problem, arch: Arch) -> Result<Explanation, Error> {
        problem.validate()?;
        Explanation::new(&self.sets, &self.tuned, problem, arch, self.rule(), self.copy_limit)
    }

    fn rule(&self) -> Rule {
        match self.pin {
            Some(spec) => Rule::Pinned(spec),
            None if self.batch_invariant => Rule::BatchInvariant,
            None => Rule::Fastest,
        }
    }

    /// Binds `problem` to the device.
    ///
    /// # Errors
    /// [`Error::Problem`] for a problem that means nothing, [`Error::PinnedOnCpu`] and [`Error::Pin`] for a pin that the
    /// device cannot honour, [`Error::NoFp8Kernel`] for fp8 operands that no kernel of the GPU multiplies,
    /// [`Error::NoBackend`] for a device that this build cannot compute on.
    pub fn plan(&self, problem: &Problem) -> Result<Plan, Error> {
        problem.validate()?;
        let (choice, backend) = self.backend(problem)?;
        Ok(Plan { problem: problem.clone(), device: self.device.clone(), choice, backend })
    }

    fn backend(&self, problem: &Problem) -> Result<(Choice, Backend), Error> {
        #[cfg(feature = "interpret")]
        if let Some(interpretation) = self.interpretation {
            return self.plan_interpreted(problem, interpretation);
        }
        match self.device.kind() {
            DeviceKind::Cpu => self.plan_cpu(problem),
            DeviceKind::Cuda(_) => self.plan_cuda(problem),
        }
    }

    #[cfg(feature = "interpret")]
    fn plan_interpreted(&self, problem: &Problem, interpretation: Interpretation) -> Result<(Choice, Backend), Error> {
        let selection = self.select_and_log(problem, interpretation.arch)?;
        let plan = InterpretedPlan::new(problem, selection.preferred(), interpretation, self.checked)?;
        let choice = selection.choice();
        let reason = format!("interpreted for {}: {}", interpretation.arch, choice.reason());
        Ok((Choice::new(choice.name(), reason), Backend::Interpreter(Box::new(plan))))
    }

    /// Chooses the kernel and loads it.
    #[cfg(feature = "cuda")]
    fn plan_cuda(&self, problem: &Problem) -> Result<(Choice, Backend), Error> {
        let arch = self.device.arch().ok_or_else(|| Error::NoBackend { device: self.device.to_string() })?;
        let selection = self.select_and_log(problem, arch)?;
        let (selection, plan) = match CudaPlan::new(self.device.gpu()?, problem, selection, self.checked) {
            // Copies are never needed; but without them a sum has other bits.
            Err(Error::OutOfMemory { .. })
                if selection.preferred().realigned != Realigned::NONE && self.rule() == Rule::Fastest =>
            {
                let without = Selection::new(&self.sets, &self.tuned, problem, arch, self.rule(), 0)?;
                (without, CudaPlan::new(self.device.gpu()?, problem, without, self.checked)?)
            }
            plan => (selection, plan?),
        };
        Ok((selection.choice(), Backend::Cuda(Box::new(plan))))
    }

    #[cfg(not(feature = "cuda"))]
    fn plan_cuda(&self, _: &Problem) -> Result<(Choice, Backend), Error> {
        Err(Error::NoBackend { device: self.device.to_string() })
    }

    #[cfg(any(feature = "cuda", feature = "interpret"))]
    fn select_and_log(&self, problem: &Problem, arch: Arch) -> Result<Selection, Error> {
        let selection = self.select(problem, arch)?;
        // The explanation weighs everything again: only for a reader.
        if tracing::enabled!(target: "select", tracing::Level::DEBUG) {
            let explanation = self.explain(problem, arch)?;
            tracing::debug!(target: "select", "{explanation}");
        }
        Ok(selection)
    }

    fn plan_cpu(&self, problem: &Problem) -> Result<(Choice, Backend), Error> {
        if let Some(spec) = &self.pin {
            return Err(Error::PinnedOnCpu { spec: spec.to_string() });
        }
        let reason = match self.device.why_not_gpu() {
            Some(why) => format!("no GPU: {why}"),
            None => "asked for".to_owned(),
        };
        Ok((Choice::new("cpu", reason), Backend::Cpu(Box::new(CpuPlan::new(problem)))))
    }
}

#[cfg(all(test, feature = "cuda"))]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A GPU that nobody may open: there is none.
    fn gpu() -> Planner {
        Planner::new(Device::found(0, "a GPU".into(), Arch::Sm90a, (9, 0), "0.0".into()))
    }

    #[test]
    fn a_pin_that_cannot_compute_is_refused_before_the_gpu_is_opened() {
        let problem = Problem::forward(8, 4096, 1536, 2048);
        let reduction = "ggemm_reduction_am_bn_bf16_f32_bf16_sm80_128x256x32_w2x4_s4_multistage_cpasync";
        let error = gpu().pin(reduction.parse().unwrap()).plan(&problem).unwrap_err();
        assert!(matches!(error, Error::Pin(_)), "{error}");
    }

    /// What no kernel multiplies is refused before the GPU is opened, and says what to do.
    #[test]
    fn fp8_that_no_kernel_multiplies_is_told_the_remedy() {
        use ggemm_codegen::{Dtype, Scaling};
        let fp8 = |problem: Problem| problem.operand(Dtype::E4m3).scaling(Scaling::Block);
        let forward = fp8(Problem::forward(8, 4096, 1536, 2048));
        let grad_w = fp8(Problem::grad_w(8, 4096, 1536, 2048));
        let refused = |problem: &Problem| {
            let error = gpu().plan(problem).unwrap_err();
            assert!(matches!(error, Error::NoFp8Kernel { arch: Arch::Sm90a, .. }), "{error}");
            assert!(gpu().batch_invariant(true).plan(problem).is_err());
            assert!(Planner::new(Device::cpu()).plan(problem).is_ok());
            error.to_string()
        };
        assert!(refused(&grad_w).ends_with(
            "fp8 tensor cores read dy along M, and it lies along N: set Problem::reduction_blocks, and pass copies as Quantizer makes them"
        ));
        let kn = forward.clone().weight_layout(ggemm_codegen::WeightLayout::Kn);
        assert!(
            refused(&kn).ends_with("and it lies along N: pass a [G, N, K] copy of the weights"),
            "{}",
            refused(&kn)
        );
        let odd = fp8(Problem::forward(8, 4096, 1536, 2040));
        assert!(refused(&odd).ends_with("multiples of 16 bytes, or use bf16 or f16 operands"), "{}", refused(&odd));
        let f16 = forward.clone().output(Dtype::F16);
        assert!(refused(&f16).contains("bake it with kernels!"), "{}", refused(&f16));
        let elsewhere = gpu().select(&forward, Arch::Sm80).unwrap_err().to_string();
        assert!(elsewhere.contains("fp8 needs sm_89 or newer"), "{elsewhere}");
    }

    /// From sm_89 on `mma.sync` multiplies fp8; Hopper's own kernels are what is chosen there.
    #[test]
    fn fp8_has_kernels_wherever_hardware_knows_it() {
        use ggemm_codegen::{Dtype, Scaling, Schedule};
        let scaled = |problem: Problem, scaling| problem.operand(Dtype::E4m3).scaling(scaling);
        for scaling in [Scaling::Row, Scaling::Block] {
            let forward = scaled(Problem::forward(8, 4096, 1536, 2048), scaling);
            let grad_w = scaled(Problem::grad_w(8, 4096, 1536, 2048), scaling).reduction_blocks(true);
            for problem in [&forward, &forward.clone().fast_accumulation(scaling == Scaling::Row), &grad_w] {
                for arch in [Arch::Sm89, Arch::Sm90a, Arch::Sm100a, Arch::Sm120a] {
                    let selection = gpu().select(problem, arch).unwrap();
                    let is_hoppers = selection.preferred().variant.spec().schedule != Schedule::Multistage;
                    assert_eq!(is_hoppers, arch == Arch::Sm90a, "{problem} on {arch}");
                }
            }
            let across = forward.clone().weight_layout(ggemm_codegen::WeightLayout::Kn);
            let refused = gpu().select(&across, Arch::Sm89).unwrap_err().to_string();
            assert!(refused.contains("pass a [G, N, K] copy of the weights"), "{refused}");
            let odd = scaled(Problem::forward(8, 4096, 1536, 2040), scaling);
            let refused = gpu().select(&odd, Arch::Sm89).unwrap_err().to_string();
            assert!(refused.contains("give strides that are multiples of 16 bytes"), "{refused}");
        }
    }

    /// A GPU rounds f32 operands only where the caller allows that; then there is a kernel for any of them.
    #[test]
    fn tf32_is_the_callers_choice() {
        use ggemm_codegen::{Dtype, WeightLayout};
        for operation in ggemm_codegen::Operation::ALL {
            for layout in [WeightLayout::Nk, WeightLayout::Kn] {
                for (output, k) in [(Dtype::F32, 64), (Dtype::F32, 67), (Dtype::Bf16, 64)] {
                    let problem = Problem::new(operation, 8, 4096, 1536, k).operand(Dtype::F32).output(output);
                    let problem = problem.weight_layout(layout);
                    assert!(Planner::new(Device::cpu()).plan(&problem).is_ok());
                    let allowed = problem.clone().allow_tf32(true);
                    for arch in Arch::ALL {
                        let refused = gpu().select(&problem, arch).unwrap_err();
                        assert!(matches!(refused, Error::NeedsTf32 { .. }), "{refused}");
                        assert!(refused.to_string().contains("Problem::allow_tf32(true)"), "{refused}");
                        let chosen = *gpu().select(&allowed, arch).unwrap().preferred().variant.spec();
                        assert_eq!(chosen.operands(), [Dtype::F32; 2]);
                    }
                }
            }
        }
    }

    /// Sums stay in the tensor cores' accumulator only where the caller allows that.
    #[test]
    fn fast_accumulation_is_the_callers_choice() {
        use ggemm_codegen::{Accumulation, Dtype, Scaling};
        let problem = Problem::forward(8, 32768, 4096, 7168).operand(Dtype::E4m3).scaling(Scaling::Row);
        let chosen = |problem: &Problem| *gpu().select(problem, Arch::Sm90a).unwrap().preferred().variant.spec();
        assert_eq!(chosen(&problem).accumulation, Accumulation::Promoted);
        let fast = problem.fast_accumulation(true);
        assert_eq!(chosen(&fast).accumulation, Accumulation::Fast);
        assert!(gpu().explain(&fast, Arch::Sm90a).unwrap().candidates().len() > 1, "promoted sums serve as well");
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panicked").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_log_explains_a_choice_to_whom_it_may_concern() {
        let problem = Problem::forward(8, 4096, 1536, 2048);
        let logged = |filter: &str| {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_ansi(false)
                .without_time()
                .with_writer(move || writer.clone())
                .finish();
            tracing::subscriber::with_default(subscriber, || gpu().select_and_log(&problem, Arch::Sm90a)).unwrap();
            let bytes = log.0.lock().unwrap().clone();
            String::from_utf8(bytes).unwrap()
        };
        let explanation = gpu().explain(&problem, Arch::Sm90a).unwrap();
        assert_eq!(logged("select").trim(), format!("DEBUG select: {explanation}"));
        assert_eq!(logged("info"), "");
    }
}
