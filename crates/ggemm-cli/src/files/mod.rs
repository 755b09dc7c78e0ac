//! safetensors files: read tensor by tensor, written whole or not at all.

mod error;
mod read;
mod write;

use std::path::Path;

use ggemm_runtime::ElementType;
use safetensors::Dtype;

pub(crate) use error::{InputError, OutputError};
pub(crate) use read::TensorFile;
pub(crate) use write::{OutputFile, OutputTensor, StagedFile};

/// The file format's name of a buffer's type.
pub(crate) fn dtype_of(ty: ElementType) -> Result<Dtype, OutputError> {
    match ty {
        ElementType::Bf16 => Ok(Dtype::BF16),
        ElementType::F16 => Ok(Dtype::F16),
        ElementType::F32 => Ok(Dtype::F32),
        ElementType::I32 => Ok(Dtype::I32),
        ElementType::I64 => Ok(Dtype::I64),
        other => Err(OutputError::Dtype { ty: other }),
    }
}

/// Whether two paths lead to one file that exists.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// A shape as messages and reports write it.
pub(crate) fn shape(dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
    format!("[{}]", dims.join(", "))
}
