//! Kernels that nobody baked, made when a caller pins one: for tools that look for what else should ship.

use std::sync::{Mutex, PoisonError};

use ggemm_codegen::{KernelSpec, ValidSpec, generate};

use super::variant::Variant;
use crate::baked::{BakedKernel, KernelSet};
use crate::error::Error;

/// The kernel of `spec`. It is made once in a process, and stays as long as the program does, as baked kernels do.
///
/// # Errors
/// It is none that this version of ggemm reads.
pub(super) fn variant(spec: &ValidSpec) -> Result<&'static Variant, Error> {
    static ALL: Mutex<Vec<(KernelSpec, &'static Variant)>> = Mutex::new(Vec::new());
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, made)) = all.iter().find(|(made, _)| made == spec.spec()) {
        return Ok(made);
    }
    let variant: &'static Variant = Box::leak(Box::new(make(spec)?));
    all.push((*spec.spec(), variant));
    Ok(variant)
}

fn make(spec: &ValidSpec) -> Result<Variant, Error> {
    let made = generate(spec);
    let (source, name): (&'static str, &'static str) = (made.source().leak(), made.name.clone().leak());
    let contract = serde_json::to_string(&made.contract);
    let contract = contract.map_err(|e| Error::UnreadableKernel { set: SET, kernel: name, reason: e.to_string() })?;
    let kernel = BakedKernel::new(name, vec![source].leak(), contract.leak(), &[]);
    let kernels: &'static [BakedKernel] = vec![kernel].leak();
    Variant::read(&KernelSet::new(SET, kernels), &kernels[0])
}

/// Where they say that they are from.
const SET: &str = "generated";
