//! What `--output` writes.

use ggemm_codegen::{GroupForm, Operation, TensorShape, WeightSharing};
use ggemm_runtime::{Buffer, ElementType};

use crate::commands::run::case::Case;
use crate::commands::run::synthetic::group_array;
use crate::commands::run::transfer;
use crate::error::CliError;
use crate::files::{OutputFile, OutputTensor, dtype_of};

/// Writes the outputs, the sizes of the groups, and the operands that lie in no other file.
pub(crate) fn write(file: OutputFile, case: &Case, outputs: &[(Operation, Buffer)]) -> Result<(), CliError> {
    let sizes: Vec<i64> = case.runs.iter().map(|run| i64::try_from(run.len()).unwrap_or(i64::MAX)).collect();
    let sizes = group_array(&case.base.clone().group_array(GroupForm::Sizes, case.base.group_index), &sizes)?;
    let rows_of_tokens = case.order.as_ref().map(|order| order.rows_of_tokens());
    let mut tensors = Vec::new();
    for (operation, buffer) in outputs {
        let [_, _, shape] = case.problem(*operation).tensors();
        tensors.push(tensor(case, &shape, buffer, rows_of_tokens.as_deref())?);
    }
    let [dy, x, _] = case.problem(Operation::GradW).tensors();
    let [_, w, _] = case.problem(Operation::Forward).tensors();
    for (shape, buffer) in [(x, &case.x), (w, &case.w), (dy, &case.dy)] {
        if case.random.contains(&shape.name) {
            tensors.push(tensor(case, &shape, buffer, rows_of_tokens.as_deref())?);
        }
    }
    let dtype = dtype_of(ElementType::from(case.base.group_index))?;
    let shape = vec![case.base.groups];
    tensors.push(OutputTensor {
        name: "m_sizes",
        dtype,
        shape,
        rows: Box::new(std::iter::once(transfer::bytes(&sizes))),
    });
    let facts = [
        ("producer", format!("ggemm {}", env!("CARGO_PKG_VERSION"))),
        ("problem", case.base.to_string()),
        ("data", case.about.data.clone()),
    ];
    file.write(facts.map(|(key, value)| (key.to_owned(), value)).into(), tensors)?;
    Ok(())
}

/// A tensor without its strides, and with tokens in the order of the file that they came from.
fn tensor<'a>(
    case: &Case,
    shape: &TensorShape,
    buffer: &'a Buffer,
    rows_of_tokens: Option<&[usize]>,
) -> Result<OutputTensor<'a>, CliError> {
    let is_weight = matches!(shape.name, "w" | "dw");
    let dims = if is_weight && case.base.weight_sharing == WeightSharing::PerExpert {
        vec![shape.groups, shape.rows, shape.cols]
    } else {
        vec![shape.rows, shape.cols]
    };
    let size = buffer.element_type().size_bytes();
    let bytes = transfer::bytes(buffer);
    let row = move |start: usize, elements: usize| &bytes[start * size..(start + elements) * size];
    let TensorShape { groups, rows, cols, row_stride, group_stride, .. } = *shape;
    let rows: Box<dyn Iterator<Item = &'a [u8]> + 'a> = match rows_of_tokens {
        Some(order) if !is_weight => {
            let order = order.to_vec();
            Box::new(order.into_iter().map(move |at| row(at * row_stride, cols)))
        }
        _ => Box::new(
            (0..groups)
                .flat_map(move |group| (0..rows).map(move |at| group * group_stride + at * row_stride))
                .map(move |start| row(start, cols)),
        ),
    };
    Ok(OutputTensor { name: shape.name, dtype: dtype_of(buffer.element_type())?, shape: dims, rows })
}
