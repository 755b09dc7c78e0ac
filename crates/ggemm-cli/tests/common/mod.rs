//! What the tests of the command share: starting it, and safetensors files made by the `safetensors` crate.

#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use half::{bf16, f16};
use safetensors::tensor::{SafeTensors, TensorView};
use safetensors::{Dtype, serialize};

/// What a call of the command left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The output of a call that succeeded.
    #[track_caller]
    pub(crate) fn passed(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.stderr, "");
        self.stdout
    }

    /// The message of a call that was refused, without what clap appends to it.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert_eq!(self.stdout, "", "a refused call prints nothing");
        let text = self.stderr.strip_prefix("error: ").unwrap_or(&self.stderr);
        text.split("\n\nUsage:")
            .next()
            .unwrap_or(text)
            .split("\n\nFor more")
            .next()
            .unwrap_or(text)
            .trim_end()
            .to_owned()
    }
}

/// A command that no variable of the environment changes.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ggemm"));
    command.env_remove("GGEMM_LOG").env("COLUMNS", "100").stdin(Stdio::null());
    command
}

/// The same, with no cache and no CUDA that this machine may have, but for what the loader itself knows.
pub(crate) fn without_cuda() -> Command {
    let mut command = command();
    for name in ["CUDA_HOME", "CUDA_PATH", "GGEMM_NVCC", "GGEMM_CACHE_DIR", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    command.env("PATH", "/nowhere");
    command
}

/// Calls the command with these arguments.
pub(crate) fn ggemm<I: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = I>) -> Ended {
    end(command().args(args))
}

/// Runs a command to its end.
pub(crate) fn end(command: &mut Command) -> Ended {
    let output = command.output().expect("the command starts");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Calls the command with the words of a line, on the CPU where it computes.
pub(crate) fn line(line: &str) -> Ended {
    ggemm(line.split_whitespace())
}

/// The JSON report of a run on the CPU.
#[track_caller]
pub(crate) fn report(flags: &str) -> serde_json::Value {
    let text = line(&format!("run --backend cpu --json {flags}")).passed();
    serde_json::from_str(&text).expect("JSON")
}

/// A tensor of a file.
pub(crate) struct Tensor {
    pub(crate) name: &'static str,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl Tensor {
    pub(crate) fn bf16(name: &'static str, shape: &[usize], values: impl IntoIterator<Item = f32>) -> Self {
        let bytes = values.into_iter().flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect();
        Tensor { name, dtype: Dtype::BF16, shape: shape.to_vec(), bytes }
    }

    pub(crate) fn f16(name: &'static str, shape: &[usize], values: impl IntoIterator<Item = f32>) -> Self {
        let bytes = values.into_iter().flat_map(|v| f16::from_f32(v).to_le_bytes()).collect();
        Tensor { name, dtype: Dtype::F16, shape: shape.to_vec(), bytes }
    }

    pub(crate) fn f32(name: &'static str, shape: &[usize], values: impl IntoIterator<Item = f32>) -> Self {
        let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
        Tensor { name, dtype: Dtype::F32, shape: shape.to_vec(), bytes }
    }

    pub(crate) fn i32(name: &'static str, values: &[i32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor { name, dtype: Dtype::I32, shape: vec![values.len()], bytes }
    }

    pub(crate) fn i64(name: &'static str, values: &[i64]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor { name, dtype: Dtype::I64, shape: vec![values.len()], bytes }
    }
}

/// The bytes of a file with these tensors.
pub(crate) fn file_bytes(tensors: &[Tensor]) -> Vec<u8> {
    let views = tensors.iter().map(|t| {
        (t.name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).expect("the bytes are those of the shape"))
    });
    serialize(views, None).expect("the tensors make a file")
}

/// A folder that disappears with the test.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names in UTF-8")
}

/// A file with these tensors in a folder.
pub(crate) fn write(folder: &tempfile::TempDir, name: &str, tensors: &[Tensor]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, file_bytes(tensors)).expect("the folder is writable");
    path
}

/// The shape and values of a tensor of a file.
#[track_caller]
pub(crate) fn read(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).expect("the file is there");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let tensor = file.tensor(name).expect("the tensor is there");
    let values = match tensor.dtype() {
        Dtype::BF16 => tensor.data().chunks(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::F16 => tensor.data().chunks(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::F32 => tensor.data().chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::I32 => tensor.data().chunks(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32).collect(),
        Dtype::I64 => tensor.data().chunks(8).map(|b| b[0].into()).collect(),
        other => panic!("{name} is {other:?}"),
    };
    (tensor.shape().to_vec(), values)
}

/// Small integers that look random: every product and sum of them is exact.
pub(crate) fn integers(count: usize, salt: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + salt * 104_729 + i * i * 31) % 7) as f32 - 3.0).collect()
}
