//! The runtime's own kernels: every variant that ships, so that any problem has a kernel without a `kernels!` of one's
//! own.

use std::sync::OnceLock;

crate::kernels! {
    /// Every variant that ships with this version of ggemm.
    mod shipped {
        arch: all,
        specs: shipped,
    }
}

crate::kernels! {
    /// Every kernel that quantizes to fp8.
    mod quantizers {
        quantizers: all,
        arch: all,
    }
}

pub use quantizers::KERNELS as QUANTIZERS;
pub use shipped::KERNELS;

/// What tells these kernels from those of another version, or of a change: a hash of their texts.
pub fn fingerprint() -> &'static str {
    static FINGERPRINT: OnceLock<String> = OnceLock::new();
    FINGERPRINT.get_or_init(|| {
        let texts = KERNELS.iter().flat_map(|kernel| [kernel.name].into_iter().chain(kernel.source.iter().copied()));
        ggemm_table::fingerprint(texts)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ggemm_codegen::{Arch, Contract, KernelSpec, QuantizeSpec, ValidSpec, catalogue, generate, generate_quantizer};

    use super::{KERNELS, QUANTIZERS};

    #[test]
    fn it_holds_every_shipped_variant_and_no_other() {
        let baked: HashSet<KernelSpec> = KERNELS.iter().map(|kernel| kernel.spec().unwrap()).collect();
        assert_eq!(baked.len(), KERNELS.kernels.len(), "no variant twice");
        assert_eq!(baked, catalogue::shipped().into_iter().collect());
    }

    #[test]
    fn it_holds_every_kernel_that_quantizes_as_the_generator_writes_it() {
        assert_eq!(QUANTIZERS.kernels.len(), QuantizeSpec::all().count());
        for (kernel, spec) in QUANTIZERS.iter().zip(QuantizeSpec::all()) {
            assert_eq!(kernel.quantize_spec(), Ok(spec));
            let written = generate_quantizer(&spec);
            assert!(kernel.source() == written.source(), "{spec}");
            assert_eq!(kernel.contract().unwrap(), written.contract, "{spec}");
        }
    }

    /// Cargo bakes anew when the generator changes.
    #[test]
    fn it_is_what_the_generator_writes_today() {
        for kernel in KERNELS {
            let spec = kernel.spec().unwrap();
            let target = Arch::ALL.into_iter().find_map(|target| ValidSpec::new(spec, target).ok());
            let written = generate(&target.unwrap());
            assert!(kernel.source() == written.source(), "{}", kernel.name);
            let contract: Contract = serde_json::from_str(kernel.contract).unwrap();
            assert_eq!(contract, written.contract);
            assert_eq!(contract.alignment, spec.required_alignment(), "{spec}");
        }
    }
}
