//! Baked kernels as selection sees them: spec and contract read once, sorted into families.

use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use ggemm_codegen::catalogue::for_target;
use ggemm_codegen::{Arch, Contract, Dtype, KernelSpec, Major, Ragged, Scaling};

use crate::baked::{BakedKernel, KernelSet};
use crate::catalogue;
use crate::error::Error;

/// A kernel of a [`KernelSet`] with its spec and contract as values.
pub struct Variant {
    set: &'static str,
    kernel: &'static BakedKernel,
    spec: KernelSpec,
    contract: Contract,
    /// One bit for each of [`Arch::ALL`] that it is for.
    targets: u32,
}

impl Variant {
    pub(super) fn read(set: &KernelSet, kernel: &'static BakedKernel) -> Result<Self, Error> {
        let unreadable = |reason: String| Error::UnreadableKernel { set: set.name, kernel: kernel.name, reason };
        let spec = kernel.spec().map_err(|e| unreadable(e.to_string()))?;
        let contract: Contract =
            serde_json::from_str(kernel.contract).map_err(|e| unreadable(format!("its contract: {e}")))?;
        if contract.name != kernel.name {
            return Err(unreadable(format!("its contract is that of `{}`", contract.name)));
        }
        let targets = Arch::ALL.into_iter().filter(|arch| for_target(spec, *arch).is_some());
        let targets = targets.fold(0, |bits, arch| bits | bit(arch));
        Ok(Variant { set: set.name, kernel, spec, contract, targets })
    }

    /// The name of the set that holds it.
    pub fn set(&self) -> &'static str {
        self.set
    }

    /// Its name, which is also the kernel's symbol.
    pub fn name(&self) -> &'static str {
        self.kernel.name
    }

    /// Its text, and its machine code where that was baked.
    pub fn kernel(&self) -> &'static BakedKernel {
        self.kernel
    }

    /// What it is.
    pub fn spec(&self) -> &KernelSpec {
        &self.spec
    }

    /// What its host must know.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Whether it is for `arch`: it runs there, and nothing that ships does all that it does faster.
    pub fn runs_on(&self, arch: Arch) -> bool {
        self.targets & bit(arch) != 0
    }

    pub(super) fn family(&self) -> Family {
        Family::of(&self.spec)
    }
}

/// The contract is long and the name says the spec.
impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variant").field("set", &self.set).field("name", &self.name()).finish_non_exhaustive()
    }
}

fn bit(arch: Arch) -> u32 {
    Arch::ALL.iter().position(|a| *a == arch).map_or(0, |index| 1 << index)
}

/// The fields of a spec that the problem decides alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Family {
    pub(super) ragged: Ragged,
    pub(super) a_major: Major,
    pub(super) b_major: Major,
    pub(super) operands: [Dtype; 2],
    pub(super) scaling: Scaling,
    pub(super) output: Dtype,
}

impl Family {
    pub(super) fn of(spec: &KernelSpec) -> Self {
        let KernelSpec { ragged, a_major, b_major, scaling, output, .. } = *spec;
        Family { ragged, a_major, b_major, operands: spec.operands(), scaling, output }
    }
}

/// A kernel set whose kernels are read when a selection first needs them.
pub(crate) struct ReadSet {
    set: KernelSet,
    variants: OnceLock<Result<Vec<Variant>, Error>>,
}

impl ReadSet {
    /// The one reading of `set` in this process. A set lives as long as the program, and so does what was read of it.
    pub(crate) fn of(set: &KernelSet) -> &'static ReadSet {
        static ALL: Mutex<Vec<&'static ReadSet>> = Mutex::new(Vec::new());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |read: &&&ReadSet| std::ptr::eq(read.set.kernels, set.kernels) && read.set.name == set.name;
        if let Some(read) = all.iter().find(same) {
            return read;
        }
        let read: &'static ReadSet = Box::leak(Box::new(ReadSet { set: *set, variants: OnceLock::new() }));
        all.push(read);
        read
    }

    /// The runtime's own catalogue.
    pub(crate) fn shipped() -> &'static ReadSet {
        static SHIPPED: OnceLock<&ReadSet> = OnceLock::new();
        SHIPPED.get_or_init(|| ReadSet::of(&catalogue::KERNELS))
    }

    /// All variants, families together, those of a family in the set's order.
    pub(super) fn variants(&'static self) -> Result<&'static [Variant], Error> {
        let read = self.variants.get_or_init(|| {
            let read: Result<Vec<Variant>, Error> = self.set.iter().map(|k| Variant::read(&self.set, k)).collect();
            read.map(|mut variants| {
                variants.sort_by_key(Variant::family);
                variants
            })
        });
        read.as_deref().map_err(Error::clone)
    }

    /// The variants of a family.
    pub(super) fn family(&'static self, family: Family) -> Result<&'static [Variant], Error> {
        let variants = self.variants()?;
        let start = variants.partition_point(|v| v.family() < family);
        let length = variants[start..].partition_point(|v| v.family() == family);
        Ok(&variants[start..start + length])
    }
}

impl fmt::Debug for ReadSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.set.name)
    }
}

/// The variants of a family in all `sets`, in order; of two with one name the earlier set's.
pub(super) fn of_family(
    sets: &[&'static ReadSet],
    family: Family,
) -> Result<impl Iterator<Item = &'static Variant>, Error> {
    let slices: Vec<&'static [Variant]> = sets.iter().map(|set| set.family(family)).collect::<Result<_, _>>()?;
    let mut place = (0, 0);
    Ok(std::iter::from_fn(move || {
        loop {
            let (earlier, slice) = (&slices[..place.0], slices.get(place.0)?);
            let Some(variant) = slice.get(place.1) else {
                place = (place.0 + 1, 0);
                continue;
            };
            place.1 += 1;
            if !earlier.iter().any(|slice| slice.iter().any(|v| v.spec == variant.spec)) {
                return Some(variant);
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kernel: BakedKernel) -> String {
        let kernels = vec![kernel].leak();
        ReadSet::of(&KernelSet::new("mine", kernels)).variants().unwrap_err().to_string()
    }

    #[test]
    fn a_set_is_read_once() {
        let first = ReadSet::of(&catalogue::KERNELS);
        assert!(std::ptr::eq(first, ReadSet::shipped()));
        assert!(std::ptr::eq(first.variants().unwrap(), ReadSet::of(&catalogue::KERNELS).variants().unwrap()));
    }

    #[test]
    fn families_share_out_the_catalogue() {
        let all = ReadSet::shipped().variants().unwrap();
        let mut families: Vec<Family> = all.iter().map(Variant::family).collect();
        families.dedup();
        let counts = families.iter().map(|f| ReadSet::shipped().family(*f).unwrap().len());
        assert_eq!(counts.sum::<usize>(), catalogue::KERNELS.kernels.len());
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_names_it() {
        let good = catalogue::KERNELS.kernels[0];
        let other = catalogue::KERNELS.kernels[1];
        let rest = "build the program anew, with one version of ggemm";
        let name = good.name;
        assert_eq!(
            read(BakedKernel::new("nonsense", &[], "{}", &[])),
            format!(
                "the kernel `nonsense` of the set `mine` cannot be read ({}): {rest}",
                "nonsense".parse::<KernelSpec>().unwrap_err()
            )
        );
        assert_eq!(
            read(BakedKernel::new(name, &[], "{}", &[])),
            format!(
                "the kernel `{name}` of the set `mine` cannot be read (its contract: missing field `name` at line 1 column 2): {rest}"
            )
        );
        assert_eq!(
            read(BakedKernel::new(name, &[], other.contract, &[])),
            format!(
                "the kernel `{name}` of the set `mine` cannot be read (its contract is that of `{}`): {rest}",
                other.name
            )
        );
    }
}
