//! What `GGEMM_BAKE` asks for: text alone, or machine code too, for all architectures or some.

use std::ffi::OsString;

use ggemm_codegen::{Arch, Generated};
use proc_macro2::Span;

use super::cubin::Baker;
use super::errors::Errors;
use super::module::Kernel;
use super::parallel;
use super::suggest;

/// A kernel that can be made.
pub(super) trait Bakeable: Sync {
    /// Its text and contract.
    fn generate(&self) -> Generated;

    /// The targets that it is for.
    fn targets(&self) -> &[Arch];
}

/// How kernels are made.
pub(super) enum Bake {
    /// Text and contract.
    Source,
    /// Machine code besides, for those of a kernel's architectures that are listed.
    Cubin(Baker, Vec<Arch>),
}

impl Bake {
    /// Reads `GGEMM_BAKE`; `None` after an error.
    pub(super) fn from_environment(
        environment: &dyn Fn(&str) -> Option<OsString>,
        errors: &mut Errors,
    ) -> Option<Self> {
        let value = environment("GGEMM_BAKE").unwrap_or_default();
        let mut refuse = |message| {
            errors.at(Span::call_site(), message);
            None
        };
        let targets = match value.to_str().map(|value| value.split_once(':').unwrap_or((value, ""))) {
            Some(("" | "source", "")) => return Some(Bake::Source),
            Some(("cubin", "")) => Arch::ALL.to_vec(),
            Some(("cubin", list)) => match list.split(',').map(str::parse).collect::<Result<_, _>>() {
                Ok(targets) => targets,
                Err(_) => {
                    let known = suggest::list(&Arch::ALL.map(Arch::name));
                    return refuse(format!(
                        "GGEMM_BAKE is `{}`: list architectures after `cubin:`, separated by commas: {known}",
                        value.display()
                    ));
                }
            },
            _ => {
                let allowed = suggest::list(&["source", "cubin", "cubin:sm_90a"]);
                return refuse(format!("GGEMM_BAKE is `{}`: set it to {allowed}, or unset it", value.display()));
            }
        };
        match Baker::find(environment) {
            Ok(baker) => Some(Bake::Cubin(baker, targets)),
            Err(error) => refuse(format!("GGEMM_BAKE=cubin: {error}; or unset GGEMM_BAKE to bake the source alone")),
        }
    }

    /// The environment variables that decide what comes out.
    pub(super) fn variables(&self) -> &'static [&'static str] {
        match self {
            Bake::Source => &["GGEMM_BAKE"],
            Bake::Cubin(..) => &["GGEMM_BAKE", "GGEMM_NVCC", "CUDA_HOME", "CUDA_PATH"],
        }
    }

    /// Makes the kernels; `None` after an error, which is shown at `span`.
    pub(super) fn kernels<V: Bakeable>(&self, variants: &[V], span: Span, errors: &mut Errors) -> Option<Vec<Kernel>> {
        let mut kernels = Vec::with_capacity(variants.len());
        for result in parallel::map(variants, make) {
            match result {
                Ok(kernel) => kernels.push(kernel),
                Err(message) => errors.at(span, message),
            }
        }
        if let Bake::Cubin(baker, listed) = self {
            let wanted = |variant: &V| -> Vec<Arch> {
                variant.targets().iter().copied().filter(|target| listed.contains(target)).collect()
            };
            let targets: Vec<Vec<Arch>> = variants.iter().map(wanted).collect();
            let targets: Vec<&[Arch]> = targets.iter().map(Vec::as_slice).collect();
            if let Err(error) = baker.bake(&mut kernels, &targets) {
                errors.at(span, format!("GGEMM_BAKE=cubin: {error}"));
                return None;
            }
        }
        Some(kernels)
    }
}

fn make<V: Bakeable>(variant: &V) -> Result<Kernel, String> {
    let Generated { name, parts, contract } = variant.generate();
    let contract = serde_json::to_string(&contract)
        .map_err(|error| format!("the contract of `{name}` cannot be written: {error}"))?;
    Ok(Kernel { name, source: parts, contract, cubins: Vec::new() })
}
