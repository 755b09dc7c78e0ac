//! What `GGEMM_BAKE` asks for: text alone, or machine code too.

use std::ffi::OsString;

use ggemm_codegen::{Generated, generate};
use proc_macro2::Span;

use super::cubin::Baker;
use super::errors::Errors;
use super::module::Kernel;
use super::parallel;
use super::select::Variant;
use super::suggest;

/// How kernels are made.
pub(super) enum Bake {
    /// Text and contract.
    Source,
    /// Machine code besides.
    Cubin(Baker),
}

impl Bake {
    /// Reads `GGEMM_BAKE`; `None` after an error.
    pub(super) fn from_environment(
        environment: &dyn Fn(&str) -> Option<OsString>,
        errors: &mut Errors,
    ) -> Option<Self> {
        let value = environment("GGEMM_BAKE").unwrap_or_default();
        match value.to_str() {
            Some("" | "source") => Some(Bake::Source),
            Some("cubin") => match Baker::find(environment) {
                Ok(baker) => Some(Bake::Cubin(baker)),
                Err(error) => {
                    let message = format!("GGEMM_BAKE=cubin: {error}; or unset GGEMM_BAKE to bake the source alone");
                    errors.at(Span::call_site(), message);
                    None
                }
            },
            _ => {
                let allowed = suggest::list(&["source", "cubin"]);
                let message = format!("GGEMM_BAKE is `{}`: set it to {allowed}, or unset it", value.display());
                errors.at(Span::call_site(), message);
                None
            }
        }
    }

    /// The environment variables that decide what comes out.
    pub(super) fn variables(&self) -> &'static [&'static str] {
        match self {
            Bake::Source => &["GGEMM_BAKE"],
            Bake::Cubin(_) => &["GGEMM_BAKE", "GGEMM_NVCC", "CUDA_HOME", "CUDA_PATH"],
        }
    }

    /// Makes the kernels; `None` after an error, which is shown at `span`.
    pub(super) fn kernels(&self, variants: &[Variant], span: Span, errors: &mut Errors) -> Option<Vec<Kernel>> {
        let mut kernels = Vec::with_capacity(variants.len());
        for result in parallel::map(variants, make) {
            match result {
                Ok(kernel) => kernels.push(kernel),
                Err(message) => errors.at(span, message),
            }
        }
        if let Bake::Cubin(baker) = self {
            let targets: Vec<_> = variants.iter().map(|variant| variant.targets.as_slice()).collect();
            if let Err(error) = baker.bake(&mut kernels, &targets) {
                errors.at(span, format!("GGEMM_BAKE=cubin: {error}"));
                return None;
            }
        }
        Some(kernels)
    }
}

fn make(variant: &Variant) -> Result<Kernel, String> {
    let Generated { name, parts, contract } = generate(&variant.spec);
    let contract = serde_json::to_string(&contract)
        .map_err(|error| format!("the contract of `{name}` cannot be written: {error}"))?;
    Ok(Kernel { name, source: parts, contract, cubins: Vec::new() })
}
