//! The checks that every backend makes before it touches memory.

use ggemm_codegen::{Problem, ProblemError, ScaleShape, TensorShape};

use crate::args::Args;
use crate::buffer::View;
use crate::device::Device;
use crate::element::ElementType;
use crate::error::Error;
use crate::operand::Operand;

/// The name of the array of sizes or ends in messages.
const GROUPS: &str = "groups";

/// Refuses arguments that are not what `problem` says or not on `device`.
pub(crate) fn args(problem: &Problem, device: &Device, args: &Args<'_>) -> Result<(), Error> {
    if args.operation != problem.operation {
        return Err(Error::Operation { given: args.operation, planned: problem.operation });
    }
    inputs(problem, device, &args.lhs, &args.rhs, &args.groups)?;
    let [_, _, out] = problem.tensors();
    tensor(problem, device, &out, &args.out.as_view())
}

/// The same for all but the output.
pub(crate) fn inputs(
    problem: &Problem,
    device: &Device,
    lhs: &Operand<'_>,
    rhs: &Operand<'_>,
    groups: &View<'_>,
) -> Result<(), Error> {
    operands(problem, device, lhs, rhs)?;
    self::groups(problem, device, groups)
}

/// Refuses operands that are not what the problem says.
pub(crate) fn operands(problem: &Problem, device: &Device, lhs: &Operand<'_>, rhs: &Operand<'_>) -> Result<(), Error> {
    let [first, second, _] = problem.tensors();
    tensor(problem, device, &first, &lhs.elements)?;
    tensor(problem, device, &second, &rhs.elements)?;
    let shapes = problem.scales().map_or([None; 2], |shapes| shapes.map(Some));
    scales(problem, device, first.name, lhs, shapes[0])?;
    scales(problem, device, second.name, rhs, shapes[1])
}

/// Refuses an array that cannot be the sizes or ends.
pub(crate) fn groups(problem: &Problem, device: &Device, groups: &View<'_>) -> Result<(), Error> {
    on_device(device, GROUPS, groups)?;
    of_type(problem, GROUPS, groups, problem.group_index.into())?;
    if groups.len() != problem.groups {
        return Err(Error::ArgumentLength {
            argument: GROUPS,
            found: groups.len(),
            needed: problem.groups,
            shape: "[G]".into(),
            remedy: "exactly",
            problem: problem.to_string(),
        });
    }
    Ok(())
}

/// Refuses memory that cannot be the dense tensor of these extents from which `argument` is quantized.
pub(crate) fn source(
    problem: &Problem,
    device: &Device,
    argument: &'static str,
    view: &View<'_>,
    dims: &[usize],
) -> Result<(), Error> {
    on_device(device, argument, view)?;
    let found = view.element_type();
    if !matches!(found, ElementType::Bf16 | ElementType::F16 | ElementType::F32) {
        return Err(Error::SourceType { argument, found });
    }
    let needed = dims.iter().fold(1_usize, |n, d| n.saturating_mul(*d));
    if view.len() < needed {
        return Err(Error::ArgumentLength {
            argument,
            found: view.len(),
            needed,
            shape: format!("{dims:?}"),
            remedy: "at least",
            problem: problem.to_string(),
        });
    }
    Ok(())
}

/// Refuses scales that are missing, that belong to nothing, or that cannot be the array of this shape.
fn scales(
    problem: &Problem,
    device: &Device,
    operand: &'static str,
    given: &Operand<'_>,
    shape: Option<ScaleShape>,
) -> Result<(), Error> {
    let (scales, shape) = match (&given.scales, shape) {
        (None, None) => return Ok(()),
        (Some(scales), Some(shape)) => (scales, shape),
        (None, Some(shape)) => {
            let dims = format!("{:?}", shape.dims());
            return Err(Error::MissingScales { operand, shape: dims, problem: problem.to_string() });
        }
        (Some(_), None) => return Err(Error::UnusedScales { operand, problem: problem.to_string() }),
    };
    self::scale(problem, device, &shape, scales)
}

/// Refuses memory that cannot be the scales of this shape.
pub(crate) fn scale(problem: &Problem, device: &Device, shape: &ScaleShape, scales: &View<'_>) -> Result<(), Error> {
    on_device(device, shape.name, scales)?;
    let found = scales.element_type();
    if found != ElementType::F32 {
        return Err(Error::ScaleType { argument: shape.name, found });
    }
    if scales.len() < shape.elements() {
        return Err(Error::ArgumentLength {
            argument: shape.name,
            found: scales.len(),
            needed: shape.elements(),
            shape: format!("{:?}", shape.dims()),
            remedy: "at least",
            problem: problem.to_string(),
        });
    }
    Ok(())
}

/// Refuses memory that cannot be the tensor of this shape.
pub(crate) fn tensor(problem: &Problem, device: &Device, shape: &TensorShape, view: &View<'_>) -> Result<(), Error> {
    on_device(device, shape.name, view)?;
    let ty = ElementType::try_from(shape.dtype).map_err(|value| ProblemError::OperandDtype { value })?;
    of_type(problem, shape.name, view, ty)?;
    if view.len() < shape.elements() {
        return Err(Error::ArgumentLength {
            argument: shape.name,
            found: view.len(),
            needed: shape.elements(),
            shape: describe(problem, shape),
            remedy: "at least",
            problem: problem.to_string(),
        });
    }
    Ok(())
}

fn on_device(device: &Device, argument: &'static str, view: &View<'_>) -> Result<(), Error> {
    if view.device() == device {
        return Ok(());
    }
    Err(Error::ArgumentDevice { argument, found: view.device().to_string(), expected: device.to_string() })
}

fn of_type(problem: &Problem, argument: &'static str, view: &View<'_>, expected: ElementType) -> Result<(), Error> {
    let found = view.element_type();
    if found == expected {
        return Ok(());
    }
    Err(Error::ArgumentType { argument, found, expected, problem: problem.to_string() })
}

/// Such as `[8, 64, 32] with rows 40 apart`.
fn describe(problem: &Problem, shape: &TensorShape) -> String {
    let TensorShape { groups, rows, cols, row_stride, group_stride, .. } = *shape;
    let per_expert = group_stride > 0 || groups > 1;
    let group = if per_expert { format!("{}, ", problem.groups) } else { String::new() };
    let mut text = format!("[{group}{rows}, {cols}]");
    if row_stride != cols {
        text += &format!(" with rows {row_stride} apart");
    }
    if per_expert && group_stride != rows.saturating_mul(row_stride) {
        text += &format!(" with groups {group_stride} apart");
    }
    text
}
