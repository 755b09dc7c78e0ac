//! The kernels that a tuning table names, and the part of it that goes with them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ggemm_codegen::{Arch, KernelSpec};
use ggemm_table::{Machine, Table};

/// What a table says for the architectures that are asked for.
#[derive(Debug)]
pub(super) struct Tuned {
    /// The file, from the root.
    pub(super) path: PathBuf,
    /// The fastest variants with the architectures that they were measured on, none twice.
    pub(super) variants: Vec<(KernelSpec, Vec<Arch>)>,
    /// The entries that name them, as lines.
    pub(super) lines: String,
}

/// Reads the table at `path`, which is relative to the crate's folder. What comes of it is a function of the file and of
/// `targets`: entries stand in its order, machines in that of their names.
pub(super) fn read(
    path: &str,
    targets: &[Arch],
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Tuned, String> {
    let folder = environment("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let path = std::path::absolute(folder.join(path)).map_err(|error| format!("`{path}`: {error}"))?;
    let shown = path.display();
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!("the table {shown} cannot be read: {error}; paths are relative to the folder of Cargo.toml")
    })?;
    let table = Table::whole(&text).map_err(|error| format!("{shown}: {error}"))?;
    let mut tuned = Tuned { path: path.clone(), variants: Vec::new(), lines: String::new() };
    for machine in table.machines() {
        let Some(arch) = machine.arch().filter(|arch| targets.contains(arch)) else { continue };
        for entry in table.entries(machine) {
            let line = entry.line().map_err(|error| format!("{shown}: {error}"))?;
            tuned.lines += &line;
            tuned.lines.push('\n');
            match tuned.variants.iter_mut().find(|(spec, _)| *spec == entry.best.variant) {
                Some((_, arches)) if arches.contains(&arch) => {}
                Some((_, arches)) => arches.push(arch),
                None => tuned.variants.push((entry.best.variant, vec![arch])),
            }
        }
    }
    if tuned.variants.is_empty() && !targets.is_empty() {
        return Err(nothing(&path, &table, targets));
    }
    Ok(tuned)
}

/// Why a table says nothing for these architectures.
fn nothing(path: &Path, table: &Table, targets: &[Arch]) -> String {
    let machines: Vec<String> = table.machines().into_iter().map(Machine::to_string).collect();
    let has = if machines.is_empty() { "nothing".to_owned() } else { machines.join("; ") };
    let targets: Vec<&str> = targets.iter().map(|target| target.name()).collect();
    format!(
        "the table {} has no entry of this version of ggemm for {}: it has {has}; tune there with `ggemm tune --table`",
        path.display(),
        targets.join(" or ")
    )
}
