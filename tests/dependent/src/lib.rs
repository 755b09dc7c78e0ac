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
}
