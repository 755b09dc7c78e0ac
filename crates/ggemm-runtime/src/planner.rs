//! From a problem to a plan.

use ggemm_codegen::{KernelSpec, Problem};

use crate::check;
use crate::cpu::CpuPlan;
use crate::device::{Device, DeviceKind};
use crate::error::Error;
use crate::plan::{Backend, Choice, Plan};

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
    pin: Option<KernelSpec>,
    batch_invariant: bool,
    checked: bool,
}

impl Planner {
    /// A planner that chooses freely.
    pub fn new(device: Device) -> Self {
        Planner { device, pin: None, batch_invariant: false, checked: false }
    }

    /// Uses this kernel variant, and no other, for every plan.
    pub fn pin(mut self, spec: KernelSpec) -> Self {
        self.pin = Some(spec);
        self
    }

    /// Makes a row's result independent of the other rows, to the bit: of their number, their values and their groups.
    /// The CPU's results always are.
    pub fn batch_invariant(mut self, on: bool) -> Self {
        self.batch_invariant = on;
        self
    }

    /// Checks sizes or ends before computing and reports what contradicts the problem, at the price of a
    /// synchronization on a GPU. The CPU always checks.
    pub fn checked(mut self, on: bool) -> Self {
        self.checked = on;
        self
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether plans are batch-invariant: because it was asked for, or because the device's results always are.
    pub fn is_batch_invariant(&self) -> bool {
        self.batch_invariant || self.device.kind() == DeviceKind::Cpu
    }

    /// Whether plans check sizes or ends: because it was asked for, or because the device always does.
    pub fn is_checked(&self) -> bool {
        self.checked || self.device.kind() == DeviceKind::Cpu
    }

    /// Binds `problem` to the device.
    ///
    /// # Errors
    /// [`Error::Problem`] for a problem that means nothing, [`Error::PinnedOnCpu`] for a pin that the device cannot
    /// honour, [`Error::NoBackend`] for a device that this build cannot compute on.
    pub fn plan(&self, problem: &Problem) -> Result<Plan, Error> {
        problem.validate()?;
        check::reachable(&self.device)?;
        let (choice, backend) = match self.device.kind() {
            DeviceKind::Cpu => self.plan_cpu(problem)?,
            DeviceKind::Cuda(_) => return Err(Error::NoBackend { device: self.device.to_string() }),
        };
        Ok(Plan { problem: problem.clone(), device: self.device.clone(), choice, backend })
    }

    fn plan_cpu(&self, problem: &Problem) -> Result<(Choice, Backend), Error> {
        if let Some(spec) = &self.pin {
            return Err(Error::PinnedOnCpu { spec: spec.to_string() });
        }
        let reason = match self.device.why_not_gpu() {
            Some(why) => format!("no GPU: {why}"),
            None => "asked for".to_owned(),
        };
        Ok((Choice::new("cpu", reason), Backend::Cpu(CpuPlan::new(problem))))
    }
}
