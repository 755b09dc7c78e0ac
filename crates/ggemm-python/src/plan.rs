//! Plans that Python holds: what computes a problem, why, and running exactly that.

use std::sync::Arc;

use ggemm_runtime::{
    Dtype, ElementType, GroupForm, IndexType, KernelSpec, Operation, Plan as RuntimePlan, Planner, Problem, Scaling,
    WeightSharing,
};
use pyo3::prelude::*;

use crate::error::Refusal;
use crate::form;
use crate::plans;
use crate::tensor::{HOST, device_name, element_type};

/// A problem bound to a device and to what computes it.
#[pyclass(frozen, module = "ggemm._ggemm")]
pub(crate) struct Plan {
    plan: Arc<RuntimePlan>,
    /// Where, as tensors say it.
    device: i32,
}

#[pymethods]
impl Plan {
    /// The kernel variant's name, or `cpu`.
    #[getter]
    fn variant(&self) -> &str {
        self.plan.variant().name()
    }

    /// Why it was chosen.
    #[getter]
    fn reason(&self) -> &str {
        self.plan.variant().reason()
    }

    /// The problem on one line.
    #[getter]
    fn problem(&self) -> String {
        self.plan.problem().to_string()
    }

    /// `cpu` or `cuda:N`.
    #[getter]
    fn device(&self) -> String {
        device_name(self.device)
    }

    /// The operation: 0 forward, 1 grad_x, 2 grad_w.
    #[getter]
    fn operation(&self) -> u8 {
        match self.plan.problem().operation {
            Operation::Forward => 0,
            Operation::GradX => 1,
            Operation::GradW => 2,
        }
    }

    /// M, where the operands are copies along the rows.
    #[getter]
    fn m(&self) -> Option<usize> {
        let problem = self.plan.problem();
        problem.reduction_blocks.then_some(problem.m)
    }

    /// Whether sums of fp8 products may stay in the tensor cores' accumulator.
    #[getter]
    fn fast_accumulation(&self) -> bool {
        self.plan.problem().fast_accumulation
    }

    /// Whether a GPU may round f32 operands to TF32.
    #[getter]
    fn allow_tf32(&self) -> bool {
        self.plan.problem().allow_tf32
    }

    /// What `run` says beside the tensors: ends, w_layout, tail, accumulate, shared, and the output's type.
    #[getter]
    fn options(&self) -> (bool, &'static str, &'static str, bool, bool, u8) {
        let problem = self.plan.problem();
        (
            problem.group_form == GroupForm::Ends,
            match problem.weight_layout {
                ggemm_runtime::WeightLayout::Nk => "nk",
                ggemm_runtime::WeightLayout::Kn => "kn",
            },
            match problem.tail {
                ggemm_runtime::Tail::Zero => "zero",
                ggemm_runtime::Tail::Untouched => "untouched",
                ggemm_runtime::Tail::Undeclared => "none",
            },
            problem.accumulate,
            problem.weight_sharing == WeightSharing::Shared,
            match problem.output {
                Dtype::Bf16 => 0,
                Dtype::F16 => 1,
                _ => 2,
            },
        )
    }

    fn __repr__(&self) -> String {
        format!("<ggemm.Plan `{}` on {}: {}>", self.plan.problem(), self.device(), self.plan.variant())
    }
}

impl Plan {
    /// The plan, if it is that of the tensors' problem.
    pub(crate) fn for_tensors(&self, device: i32, problem: &Problem) -> Result<Arc<RuntimePlan>, Refusal> {
        let planned = self.plan.problem();
        if device != self.device {
            return Err(Refusal::OtherDevice { found: device_name(device), planned: device_name(self.device) });
        }
        if problem != planned {
            return Err(Refusal::OtherProblem { found: problem.to_string(), planned: planned.to_string() });
        }
        Ok(Arc::clone(&self.plan))
    }
}

/// Plans a problem. `device` is -1 for the host, else a GPU's ordinal.
#[pyfunction]
#[pyo3(signature = (operation, extents, types, w_layout, shared, ends, tail, accumulate, strides, device, variant, batch_invariant, checked, scaling=None, second=None, reduction_blocks=false, fast_accumulation=false, allow_tf32=false))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn plan(
    py: Python<'_>,
    operation: u8,
    extents: (usize, usize, usize, usize),
    types: (u8, u8, u8),
    w_layout: &str,
    shared: bool,
    ends: bool,
    tail: &str,
    accumulate: bool,
    strides: (Option<usize>, Option<usize>, Option<usize>, Option<usize>),
    device: i32,
    variant: Option<&str>,
    batch_invariant: bool,
    checked: bool,
    scaling: Option<&str>,
    second: Option<u8>,
    reduction_blocks: bool,
    fast_accumulation: bool,
    allow_tf32: bool,
) -> PyResult<Plan> {
    let (groups, m, n, k) = extents;
    let mut problem = Problem::new(form::operation(operation)?, groups, m, n, k);
    problem.operand = dtype("dtype", types.0)?;
    if let Some(second) = second {
        problem = problem.second_operand(dtype("second_dtype", second)?);
    }
    problem.scaling = scaling.map(form::scaling).transpose()?.unwrap_or(Scaling::None);
    problem.reduction_blocks = reduction_blocks;
    problem.fast_accumulation = fast_accumulation;
    problem.allow_tf32 = allow_tf32;
    problem.output = dtype("out_dtype", types.1)?;
    problem.group_index = match element_type(types.2)? {
        ElementType::I32 => IndexType::I32,
        ElementType::I64 => IndexType::I64,
        ty => {
            let expected = "sizes and ends are int32 or int64";
            return Err(Refusal::Type { argument: "index", found: ty.name(), expected }.into());
        }
    };
    problem.weight_layout = form::layout(w_layout)?;
    problem.weight_sharing = if shared { WeightSharing::Shared } else { WeightSharing::PerExpert };
    problem.group_form = if ends { GroupForm::Ends } else { GroupForm::Sizes };
    problem.tail = form::tail(tail)?;
    problem.accumulate = accumulate;
    let (rows, cols) = problem.weight_shape();
    let along = problem.reduction_blocks.then(|| problem.tensors()[0].cols);
    problem.x_row_stride = strides.0.filter(|stride| *stride != along.unwrap_or(k));
    problem.y_row_stride = strides.1.filter(|stride| *stride != along.unwrap_or(n));
    problem.w_row_stride = strides.2.filter(|stride| *stride != cols);
    let whole = rows.saturating_mul(problem.w_row_stride.unwrap_or(cols));
    problem.w_group_stride = strides.3.filter(|stride| *stride != whole && !shared && groups > 1);

    let device = device.max(HOST);
    let mut planner = Planner::new(plans::device(device)?).batch_invariant(batch_invariant).checked(checked);
    if let Some(name) = variant {
        let refused = |e: &dyn std::fmt::Display| Refusal::Word {
            argument: "variant",
            value: format!("{name} ({e})"),
            expected: "the name of a kernel variant, as `ggemm list` prints them",
        };
        planner = planner.pin(name.parse::<KernelSpec>().map_err(|error| refused(&error))?);
    }
    let plan = py.detach(|| planner.plan(&problem)).map_err(Refusal::from)?;
    Ok(Plan { plan: Arc::new(plan), device })
}

pub(crate) fn dtype(argument: &'static str, code: u8) -> PyResult<Dtype> {
    match element_type(code)? {
        ElementType::Bf16 => Ok(Dtype::Bf16),
        ElementType::F16 => Ok(Dtype::F16),
        ElementType::F32 => Ok(Dtype::F32),
        ElementType::E4m3 => Ok(Dtype::E4m3),
        ElementType::E5m2 => Ok(Dtype::E5m2),
        ty => Err(Refusal::Type { argument, found: ty.name(), expected: "a matrix is fp8, bf16, f16 or f32" }.into()),
    }
}
