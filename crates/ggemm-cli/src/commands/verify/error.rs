//! Why nothing could be verified, or attested.

use ggemm_attest::AttestError;
use ggemm_codegen::Arch;
use ggemm_runtime::NoDevice;
use ggemm_runtime::baked::DamagedCubin;

/// Why `ggemm verify` could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    /// No GPU.
    #[error("verify needs a GPU: {0} (or add --interpret)")]
    NoGpu(NoDevice),
    /// A device without an architecture that kernels are made for.
    #[error("verify needs a GPU that kernels are made for, and {device} is none (or add --interpret)")]
    NoArch {
        /// The device.
        device: String,
    },
    /// A pattern that no name matches.
    #[error(
        "--variant {pattern}: no variant that ships for {arch} has such a name: `ggemm list --arch {arch} --names` prints all"
    )]
    NoMatch {
        /// The pattern.
        pattern: String,
        /// Where it was to run.
        arch: Arch,
    },
    /// A variant that does not ship, and so has no attestation.
    #[error("--attest: {name} does not ship for {arch}, and only what ships is attested: leave it or --attest out")]
    NotShipped {
        /// The spec's name.
        name: String,
        /// Where it was to run.
        arch: Arch,
    },
    /// A program that holds source alone.
    #[error(
        "--attest: this program holds no machine code of {variant} for {arch}, so that nobody could tell later what ran: build it with GGEMM_BAKE=cubin, or by `cargo xtask bundle`"
    )]
    NoCubin {
        /// The variant.
        variant: &'static str,
        /// The target.
        arch: Arch,
    },
    /// A cubin that does not decompress.
    #[error("--attest: {0}")]
    Damaged(#[from] DamagedCubin),
    /// Cubins without a word on their compiler, or of two compilers.
    #[error(
        "--attest: {variant} was compiled by {found}, {expected} is needed: build the program anew with the project's compiler, which `cargo xtask cuda` fetches"
    )]
    Compiler {
        /// The variant.
        variant: &'static str,
        /// What its cubin says.
        found: String,
        /// What the others say.
        expected: String,
    },
    /// A program that does not know where it came from.
    #[error(
        "--attest: this program does not know the commit that it was built from: build it with GGEMM_COMMIT set to the commit's 40 digits, or by `cargo xtask bundle`"
    )]
    NoCommit,
    /// No driver's version.
    #[error("--attest: the device does not tell its driver: attest on an NVIDIA GPU")]
    NoDriver,
    /// The file.
    #[error("--attest: {0}")]
    Attest(#[from] AttestError),
}
