//! Writes files whole or not at all: under a temporary name beside the final one, then one rename.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use tempfile::NamedTempFile;

use crate::files::OutputError;

/// A file that is being written and has no name yet. Dropped without [`StagedFile::commit`], it leaves nothing behind.
pub(crate) struct StagedFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl StagedFile {
    /// Prepares to write `path`, so that a folder that is missing or not writable shows before any work is done.
    pub(crate) fn create(path: &Path) -> Result<Self, OutputError> {
        let io = |source| OutputError::Io { path: path.to_owned(), source };
        if path.is_dir() {
            return Err(io(std::io::ErrorKind::IsADirectory.into()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(OutputError::NoFolder { path: path.to_owned(), folder: folder.to_owned() });
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".ggemm-");
        // As any other new file: the system takes away what the user's umask says.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        // Its error names the temporary file, which means nothing to the user.
        let file = builder.tempfile_in(folder).map_err(|error| io(error.kind().into()))?;
        Ok(StagedFile { path: path.to_owned(), file })
    }

    /// Where the file will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the contents and gives the file its name.
    pub(crate) fn commit(
        self,
        write: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>,
    ) -> Result<(), OutputError> {
        let StagedFile { path, file } = self;
        let io = |source| OutputError::Io { path: path.clone(), source };
        let mut writer = BufWriter::with_capacity(1 << 20, file.as_file());
        write(&mut writer).and_then(|()| writer.flush()).map_err(io)?;
        drop(writer);
        file.persist(&path).map_err(|error| io(error.error))?;
        Ok(())
    }
}

/// A tensor to be written: its rows, wherever they lie.
pub(crate) struct OutputTensor<'a> {
    /// Its name.
    pub(crate) name: &'static str,
    /// The type of its elements.
    pub(crate) dtype: Dtype,
    /// Its shape.
    pub(crate) shape: Vec<usize>,
    /// The bytes of its rows, in their order in the file.
    pub(crate) rows: Box<dyn Iterator<Item = &'a [u8]> + 'a>,
}

/// A safetensors file that is being written.
pub(crate) struct OutputFile(StagedFile);

impl OutputFile {
    /// As [`StagedFile::create`].
    pub(crate) fn create(path: &Path) -> Result<Self, OutputError> {
        StagedFile::create(path).map(OutputFile)
    }

    /// Where the file will be.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes all tensors and gives the file its name.
    pub(crate) fn write(
        self,
        facts: HashMap<String, String>,
        mut tensors: Vec<OutputTensor<'_>>,
    ) -> Result<(), OutputError> {
        // Wide types first, so that every tensor starts at a multiple of its elements' size.
        tensors.sort_by(|a, b| b.dtype.cmp(&a.dtype).then(a.name.cmp(b.name)));
        let header =
            header(facts, &tensors).map_err(|reason| OutputError::Header { path: self.path().to_owned(), reason })?;
        self.0.commit(|writer| {
            writer.write_all(&(header.len() as u64).to_le_bytes())?;
            writer.write_all(&header)?;
            for tensor in tensors {
                for row in tensor.rows {
                    writer.write_all(row)?;
                }
            }
            Ok(())
        })
    }
}

/// The header of a file that holds `tensors` one after the other, padded so that they start at a multiple of 8 bytes.
fn header(facts: HashMap<String, String>, tensors: &[OutputTensor<'_>]) -> Result<Vec<u8>, String> {
    let mut start = 0_usize;
    let infos = tensors.iter().map(|tensor| {
        let elements: usize = tensor.shape.iter().product();
        let end = start + elements * tensor.dtype.bitsize() / 8;
        let info = TensorInfo { dtype: tensor.dtype, shape: tensor.shape.clone(), data_offsets: (start, end) };
        start = end;
        (tensor.name.to_owned(), info)
    });
    let metadata = Metadata::new(Some(facts), infos.collect()).map_err(|e| e.to_string())?;
    let mut header = serde_json::to_vec(&metadata).map_err(|e| e.to_string())?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}
