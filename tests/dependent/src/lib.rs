//! Bakes the kernels of one model.

#![deny(missing_docs, warnings)]

grouped::kernels! {
    /// The expert projections of one model: 1536 x 2048.
    pub mod experts {
        ops: all,
        dtypes: [bf16],
        arch: [sm_80, sm_90a],
        shape: { n: 1536, k: 2048 },
    }
}

/// A macro of one's own around it.
macro_rules! layer {
    ($(#[$attribute:meta])* $name:ident, $n:literal x $k:literal) => {
        grouped::kernels! {
            $(#[$attribute])*
            pub(crate) mod $name { ops: [forward], dtypes: [f16], arch: [sm_80], shape: { n: $n, k: $k } }
        }
    };
}

layer! {
    /// A layer whose rows are not multiples of 16 bytes.
    odd, 1111 x 1009
}

/// Kernels of the two modules.
pub fn count() -> usize {
    experts::KERNELS.iter().chain(odd::KERNELS.iter()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use grouped::{Arch, Device, Error, Planner, Problem, Unmet};

    const BAKED: grouped::baked::KernelSet = experts::KERNELS;

    #[test]
    fn sources_are_whole_and_for_the_shape() {
        assert_eq!(count(), BAKED.kernels.len() + odd::KERNELS.kernels.len());
        for kernel in BAKED {
            let spec = kernel.spec().unwrap();
            assert!(kernel.source().contains(&format!("{spec}(")), "{spec}");
            assert!(kernel.contract.starts_with('{') && kernel.cubins.is_empty(), "{spec}");
        }
        let rows = |suffix: &str| {
            BAKED.iter().filter(|k| k.name.starts_with("ggemm_rows") && k.name.ends_with(suffix)).count()
        };
        // K and N are multiples of a stage's depth. One plain variant for forward and one for grad_x take any strides.
        assert!(rows("_evenk") > 0 && rows("_plain") == 2);
        assert!(odd::KERNELS.iter().all(|kernel| kernel.name.ends_with("_plain")));
    }

    /// A program of one's own has what was baked, and makes no kernel on the spot.
    #[test]
    fn a_pin_that_nobody_baked_says_how_to_bake_it() {
        let name = "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s4_multistage_cpasync";
        let problem = Problem::forward(8, 4096, 1536, 2048);
        let error = Planner::new(Device::cpu()).pin(name.parse().unwrap()).select(&problem, Arch::Sm80).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{name} is pinned and cannot compute `{problem}` on sm_80: no kernel set of the planner holds it (bake \
                 it with kernels! {{ specs: [\"…\"] }}, and pass the set to Planner::with); pin \
                 ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync, or remove the pin"
            )
        );
        assert!(matches!(error, Error::Pin(error) if error.unmet == Unmet::NotBaked));
    }
}
