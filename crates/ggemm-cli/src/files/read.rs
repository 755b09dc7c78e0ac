//! Reads a safetensors file: the header once, then each tensor straight into the buffer that is used.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ggemm_runtime::{Buffer, Device, Element, ElementType, bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::error::CliError;
use crate::files::{InputError, shape};
use crate::names::nearest;

/// The largest header that the format allows, in bytes.
const LARGEST_HEADER: u64 = 100_000_000;
/// Bytes of the number that a file starts with.
const LENGTH_BYTES: u64 = 8;
/// Tensors that a message lists.
const LISTED: usize = 12;

/// An open safetensors file whose header is valid and describes exactly the bytes that follow it.
pub(crate) struct TensorFile {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// Where the tensors' bytes start.
    data: u64,
}

impl TensorFile {
    /// Opens a file and checks all but its tensors' values.
    pub(crate) fn open(path: &Path) -> Result<Self, InputError> {
        let io = |source| InputError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.is_dir() {
            return Err(io(std::io::ErrorKind::IsADirectory.into()));
        }
        let bytes = metadata.len();
        if bytes < LENGTH_BYTES {
            return Err(InputError::NoHeader { path: path.to_owned(), bytes });
        }
        let mut length = [0; LENGTH_BYTES as usize];
        file.read_exact(&mut length).map_err(io)?;
        let (header, follow) = (u64::from_le_bytes(length), bytes - LENGTH_BYTES);
        if header > follow {
            return Err(InputError::HeaderLength { path: path.to_owned(), header, follow });
        }
        if header > LARGEST_HEADER {
            return Err(InputError::HeaderTooLarge { path: path.to_owned(), header, limit: LARGEST_HEADER });
        }
        let mut text = Vec::new();
        (&mut file).take(header).read_to_end(&mut text).map_err(io)?;
        let invalid = |e: serde_json::Error| InputError::Header { path: path.to_owned(), reason: e.to_string() };
        let parsed: Metadata = serde_json::from_slice(&text).map_err(invalid)?;
        let (described, follow) = (parsed.data_len() as u64, follow - header);
        if described != follow {
            return Err(InputError::DataLength { path: path.to_owned(), described, follow });
        }
        Ok(TensorFile { path: path.to_owned(), file, header: parsed, data: LENGTH_BYTES + header })
    }

    /// The path that was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.header.info(name).is_some()
    }

    /// The type and shape of a tensor, which `flag` gives another name.
    pub(crate) fn info(&self, name: &str, flag: &'static str) -> Result<&TensorInfo, InputError> {
        self.header.info(name).ok_or_else(|| InputError::Missing {
            path: self.path.clone(),
            name: name.to_owned(),
            flag,
            present: self.present(name),
        })
    }

    /// The tensors that are there, those with names like `wanted` first where there are too many to list.
    pub(crate) fn present(&self, wanted: &str) -> String {
        let mut names = self.header.offset_keys();
        names.sort();
        let total = names.len();
        if total == 0 {
            return "none".to_owned();
        }
        if total > LISTED {
            names = nearest(wanted, names, LISTED);
        }
        let describe = |name: &String| match self.header.info(name) {
            Some(info) => format!("`{name}` {} {}", info.dtype, shape(&info.shape)),
            None => format!("`{name}`"),
        };
        let listed: Vec<String> = names.iter().map(describe).collect();
        let more = if total > LISTED { format!(" and {} more", total - LISTED) } else { String::new() };
        listed.join(", ") + &more
    }

    /// Reads a tensor, whatever its shape.
    pub(crate) fn read(&mut self, name: &str, flag: &'static str) -> Result<Buffer, CliError> {
        let dtype = self.info(name, flag)?.dtype;
        match dtype {
            Dtype::BF16 => self.elements::<bf16>(name, flag),
            Dtype::F16 => self.elements::<f16>(name, flag),
            Dtype::F32 => self.elements::<f32>(name, flag),
            Dtype::I32 => self.elements::<i32>(name, flag),
            Dtype::I64 => self.elements::<i64>(name, flag),
            found => {
                Err(InputError::Dtype { name: name.to_owned(), found, expected: "BF16, F16, F32, I32 or I64" }.into())
            }
        }
    }

    fn elements<T: Element>(&mut self, name: &str, flag: &'static str) -> Result<Buffer, CliError> {
        let info = self.info(name, flag)?;
        let (start, end) = info.data_offsets;
        let elements = end.saturating_sub(start) / ElementType::size_bytes(T::TYPE);
        let at = self.data + start as u64;
        let mut buffer = Buffer::zeros(&Device::cpu(), T::TYPE, elements)?;
        let bytes = bytemuck::cast_slice_mut(buffer.as_mut_slice::<T>().unwrap_or_default());
        let read = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.read_exact(bytes));
        read.map_err(|source| InputError::Io { path: self.path.clone(), source })?;
        Ok(buffer)
    }
}
