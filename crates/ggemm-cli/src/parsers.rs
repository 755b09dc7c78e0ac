//! How flags' values are read, with the words of a remedy where they cannot be.

use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ggemm_codegen::interp::Policy;
use ggemm_codegen::scenario::Extent;
use ggemm_codegen::{Arch, Dtype, GroupForm, IndexType, Operation, Scaling, Tail, WeightLayout, WeightSharing};

/// Types that operands are quantized to.
pub(crate) fn fp8() -> impl TypedValueParser<Value = Dtype> {
    PossibleValuesParser::new(["e4m3", "e5m2"]).try_map(|name| Dtype::from_str(&name))
}

/// Which elements of quantized operands share a scale.
pub(crate) fn scaling() -> impl TypedValueParser<Value = Scaling> {
    PossibleValuesParser::new([Scaling::Row.name(), Scaling::Block.name()]).try_map(|name| Scaling::from_str(&name))
}

/// Types of operands.
pub(crate) fn operand() -> impl TypedValueParser<Value = Dtype> {
    PossibleValuesParser::new(["bf16", "f16", "f32"]).try_map(|name| Dtype::from_str(&name))
}

/// Types of outputs.
pub(crate) fn output() -> impl TypedValueParser<Value = Dtype> {
    PossibleValuesParser::new(Dtype::OUTPUTS.map(Dtype::name)).try_map(|name| Dtype::from_str(&name))
}

/// Architectures.
pub(crate) fn arch() -> impl TypedValueParser<Value = Arch> {
    PossibleValuesParser::new(Arch::ALL.map(Arch::name)).try_map(|name| Arch::from_str(&name))
}

/// How large random problems are.
pub(crate) fn extent() -> impl TypedValueParser<Value = Extent> {
    PossibleValuesParser::new(Extent::ALL.map(Extent::name))
        .map(|name| Extent::ALL.into_iter().find(|extent| extent.name() == name).unwrap_or(Extent::Tiles))
}

/// Operations.
pub(crate) fn operation() -> impl TypedValueParser<Value = Operation> {
    PossibleValuesParser::new(Operation::ALL.map(Operation::name)).try_map(|name| Operation::from_str(&name))
}

/// Schedules of the interpreter.
pub(crate) fn policy() -> impl TypedValueParser<Value = Policy> {
    PossibleValuesParser::new(Policy::ALL.map(Policy::name)).try_map(|name| Policy::from_str(&name))
}

/// A count: G, M, N, K, a stride.
pub(crate) fn count(text: &str) -> Result<usize, CountError> {
    text.parse().map_err(|_| CountError)
}

/// Not a count.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected a whole number, at least 0")]
pub(crate) struct CountError;

/// A factor between predicted times.
pub(crate) fn factor(text: &str) -> Result<f64, FactorError> {
    text.parse().ok().filter(|factor: &f64| *factor >= 1.0).ok_or(FactorError)
}

/// Not a factor.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected a number, at least 1: 1 times the best predicted variant alone, inf all of them")]
pub(crate) struct FactorError;

/// A rate, or a percentage.
pub(crate) fn positive(text: &str) -> Result<f64, PositiveError> {
    text.parse().ok().filter(|number: &f64| *number > 0.0 && number.is_finite()).ok_or(PositiveError)
}

/// Not above 0.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected a number above 0")]
pub(crate) struct PositiveError;

/// A time that has passed.
pub(crate) fn age(text: &str) -> Result<Duration, AgeError> {
    humantime::parse_duration(text).map_err(|_| AgeError)
}

/// Not an age.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected a time with its unit, such as 30d, 12h or 2weeks")]
pub(crate) struct AgeError;

/// A number of bytes.
pub(crate) fn size(text: &str) -> Result<u64, SizeError> {
    text.parse().map(|ByteSize(bytes)| bytes).map_err(|_: String| SizeError)
}

/// Not a number of bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected bytes with their unit, such as 500MB or 2GiB")]
pub(crate) struct SizeError;

/// `--sizes`: the rows of each group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sizes(pub(crate) Vec<usize>);

/// What is wrong with a list of sizes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SizesError {
    /// Nothing in it.
    #[error("no group is listed: give the rows of each group, such as 1024,1024,2048,2048")]
    Empty,
    /// An entry that is no number of rows.
    #[error("the size of group {group} is `{text}`: expected a whole number of rows, at least 0")]
    Entry {
        /// The group.
        group: usize,
        /// What is listed for it.
        text: String,
    },
}

impl FromStr for Sizes {
    type Err = SizesError;

    fn from_str(text: &str) -> Result<Self, SizesError> {
        if text.trim().is_empty() {
            return Err(SizesError::Empty);
        }
        let size = |(group, text): (usize, &str)| {
            let text = text.trim();
            text.parse().map_err(|_| SizesError::Entry { group, text: text.to_owned() })
        };
        text.split(',').enumerate().map(size).collect::<Result<_, _>>().map(Sizes)
    }
}

/// Whether groups have weights of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Weights {
    /// One weight for all groups; grad_w sums over all of them
    Shared,
    /// One weight for each group
    PerExpert,
}

impl From<Weights> for WeightSharing {
    fn from(weights: Weights) -> Self {
        match weights {
            Weights::Shared => WeightSharing::Shared,
            Weights::PerExpert => WeightSharing::PerExpert,
        }
    }
}

/// Which dimension of a weight comes first in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layout {
    /// [N, K], as a Linear layer holds it
    Nk,
    /// [K, N], as torch._grouped_mm takes it
    Kn,
}

impl From<Layout> for WeightLayout {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Nk => WeightLayout::Nk,
            Layout::Kn => WeightLayout::Kn,
        }
    }
}

/// What happens to rows past the last group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TailPolicy {
    /// They are zeroed
    Zero,
    /// They keep what they hold
    Untouched,
}

impl From<TailPolicy> for Tail {
    fn from(policy: TailPolicy) -> Self {
        match policy {
            TailPolicy::Zero => Tail::Zero,
            TailPolicy::Untouched => Tail::Untouched,
        }
    }
}

/// What the device array of groups holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Rows of each group
    Sizes,
    /// The row after each group's last
    Ends,
}

impl From<Form> for GroupForm {
    fn from(form: Form) -> Self {
        match form {
            Form::Sizes => GroupForm::Sizes,
            Form::Ends => GroupForm::Ends,
        }
    }
}

/// The integer type of that array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Index {
    /// 32-bit
    I32,
    /// 64-bit
    I64,
}

impl From<Index> for IndexType {
    fn from(index: Index) -> Self {
        match index {
            Index::I32 => IndexType::I32,
            Index::I64 => IndexType::I64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_have_units() {
        assert_eq!(age("30d").unwrap(), Duration::from_secs(30 * 24 * 60 * 60));
        assert_eq!([size("500MB"), size("2 GiB"), size("0")].map(Result::unwrap), [500_000_000, 2 << 30, 0]);
        for bad in ["", "30", "-1d", "d", "soon"] {
            assert!(age(bad).is_err(), "{bad}");
        }
        for bad in ["", "-1MB", "MB", "many", "1XB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_a_list_of_counts() {
        assert_eq!("1024, 0,7".parse(), Ok(Sizes(vec![1024, 0, 7])));
        assert_eq!("".parse::<Sizes>(), Err(SizesError::Empty));
        let error = "4,-1".parse::<Sizes>().unwrap_err().to_string();
        assert_eq!(error, "the size of group 1 is `-1`: expected a whole number of rows, at least 0");
        let error = "4,,1".parse::<Sizes>().unwrap_err().to_string();
        assert_eq!(error, "the size of group 1 is ``: expected a whole number of rows, at least 0");
    }
}
