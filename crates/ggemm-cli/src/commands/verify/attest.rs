//! What an attestation says beside the results: which cubins ran, and where.

use ggemm_attest::{Attestation, CubinHash, Entry, Producer, SCHEMA, Verdict, compiler_of};
use ggemm_codegen::Arch;
use ggemm_runtime::{Device, catalogue};

use super::args::VerifyArgs;
use super::error::VerifyError;
use super::tally::Tally;
use super::verified::Verified;

/// All that an attestation needs, found before hours are spent on cases.
pub(super) struct Provenance {
    device: Device,
    arch: Arch,
    driver: String,
    commit: &'static str,
    compiler: String,
    cubins: Vec<(Verified, CubinHash)>,
}

/// The compiler of a cubin that does not say.
const UNKNOWN: &str = "an unknown compiler";

impl Provenance {
    /// Reads what is known of the program, the device and the driver.
    pub(super) fn find(device: &Device, arch: Arch, variants: &[Verified]) -> Result<Self, VerifyError> {
        let commit = option_env!("GGEMM_COMMIT").filter(|commit| !commit.is_empty()).ok_or(VerifyError::NoCommit)?;
        let mut compiler: Option<String> = None;
        let mut cubins = Vec::new();
        for spec in variants {
            let (hash, made_by) = baked(spec, arch)?;
            let expected = compiler.get_or_insert_with(|| made_by.1.clone());
            if made_by.1 != *expected || *expected == UNKNOWN {
                let (variant, found) = made_by;
                let expected = if found == UNKNOWN { "nvcc".to_owned() } else { expected.clone() };
                return Err(VerifyError::Compiler { variant, found, expected });
            }
            cubins.push((*spec, hash));
        }
        Ok(Provenance {
            device: device.clone(),
            arch,
            driver: device.driver().ok_or(VerifyError::NoDriver)?.to_owned(),
            commit,
            compiler: compiler.unwrap_or_default(),
            cubins,
        })
    }

    /// The attestation of what was found.
    pub(super) fn attestation(self, args: &VerifyArgs, cases: u64, tallies: &[Tally]) -> Attestation {
        let entry = |(tally, (spec, cubin)): (&Tally, (Verified, CubinHash))| Entry {
            variant: spec.to_string(),
            cubin,
            cases: tally.cases,
            exact_cases: tally.exact_cases,
            worst_of_bound: tally.worst_of_bound.min(f64::MAX),
            verdict: if tally.passed(cases) { Verdict::Pass } else { Verdict::Fail },
        };
        // A variant that never ran is not spoken of.
        let ran = tallies.iter().zip(self.cubins).filter(|(tally, _)| tally.cases > 0);
        Attestation {
            schema: SCHEMA,
            target: self.arch.name().to_owned(),
            device: self.device.name().to_owned(),
            driver: self.driver,
            compiler: self.compiler,
            ggemm: Producer { version: env!("CARGO_PKG_VERSION").to_owned(), commit: self.commit.to_owned() },
            date: args.date.unwrap_or_else(ggemm_attest::Date::today),
            seed: args.seed,
            variants: ran.map(entry).collect(),
        }
    }
}

/// The hash of the cubin that this program holds of a variant, and runs where it holds one; the variant's name and its
/// compiler's version.
fn baked(spec: &Verified, arch: Arch) -> Result<(CubinHash, (&'static str, String)), VerifyError> {
    let name = spec.to_string();
    let sets = [catalogue::KERNELS, catalogue::QUANTIZERS, catalogue::REALIGNERS];
    let Some(kernel) = sets.iter().find_map(|set| set.find(&name)) else {
        return Err(VerifyError::NotShipped { name, arch });
    };
    let variant = kernel.name;
    let cubin = kernel.cubin(arch).ok_or(VerifyError::NoCubin { variant, arch })??;
    let compiler = compiler_of(&cubin).unwrap_or(UNKNOWN).to_owned();
    Ok((CubinHash::of(&cubin), (variant, compiler)))
}
