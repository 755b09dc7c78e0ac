//! The groups of a problem in a file: sizes, ends, the expert of each token, or flags.

use ggemm_codegen::{IndexType, Problem};
use ggemm_runtime::Buffer;

use crate::commands::run::args::{RunArgs, defaults};
use crate::commands::run::from_file::Names;
use crate::commands::run::router::Router;
use crate::commands::run::tokens::TokenOrder;
use crate::commands::run::usage::UsageError;
use crate::commands::run::weight_form::WeightForm;
use crate::error::CliError;
use crate::files::{InputError, TensorFile, shape};

/// The most groups that expert ids alone may make.
const MOST_INFERRED_GROUPS: i64 = 1 << 20;

/// How the groups are given.
pub(super) struct Grouping {
    pub(super) groups: usize,
    pub(super) index: IndexType,
    pub(super) source: Source,
}

/// Where sizes come from.
pub(super) enum Source {
    /// A tensor of sizes, or of ends.
    Array(Vec<i64>),
    /// The expert of each token.
    Ids(Vec<i64>),
    /// `--sizes`.
    Listed(Vec<usize>),
    /// `--router`.
    Routed(Router),
}

/// The groups that a source makes.
pub(super) struct Grouped {
    /// The order of tokens that were not sorted.
    pub(super) order: Option<TokenOrder>,
    /// Sizes; of an array of the file, what it holds.
    pub(super) values: Vec<i64>,
    /// How sizes were made that the file does not hold.
    pub(super) counted: Option<String>,
}

impl Source {
    /// Makes the groups.
    pub(super) fn group(self, ids_name: &str, base: &Problem, seed: u64) -> Result<Grouped, InputError> {
        let wide = |sizes: Vec<usize>| sizes.into_iter().map(|size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
        Ok(match self {
            Source::Array(values) => Grouped { order: None, values, counted: None },
            Source::Ids(ids) => {
                let (order, sizes) = TokenOrder::sort(ids_name, &ids, base.groups)?;
                Grouped { order: Some(order), values: sizes, counted: Some(format!("counted from `{ids_name}`")) }
            }
            Source::Listed(sizes) => Grouped { order: None, values: wide(sizes), counted: Some("listed".to_owned()) },
            Source::Routed(router) => {
                let sizes = router.sizes(base.groups, base.m, seed);
                let counted = Some(format!("router {}, seed {seed}", router.name()));
                Grouped { order: None, values: wide(sizes), counted }
            }
        })
    }
}

/// Finds out how the groups are given: by the file, or by flags where it says nothing.
pub(super) fn grouping(
    args: &RunArgs,
    file: &mut TensorFile,
    names: &Names<'_>,
    m: usize,
    weight: WeightForm,
    notes: &mut Vec<String>,
) -> Result<Grouping, CliError> {
    let (sizes_named, ids_named) = (args.data.sizes_name.is_some(), args.data.ids_name.is_some());
    let use_sizes = sizes_named || !ids_named && file.has(names.sizes);
    let use_ids = ids_named || !sizes_named && file.has(names.ids);
    let flag_index = args.memory.group_index.map(IndexType::from);
    let index = flag_index.unwrap_or(IndexType::I32);
    let by_flag = match (&args.problem.sizes, args.problem.router) {
        (Some(sizes), _) => Some(("--sizes", sizes.0.len(), Source::Listed(sizes.0.clone()))),
        (None, Some(router)) => {
            let groups = weight.groups.or(args.problem.groups).unwrap_or(defaults::SIZES.len());
            Some(("--router", groups, Source::Routed(router)))
        }
        (None, None) => None,
    };
    let path = || file.path().to_owned();
    let (sizes, ids) = (names.sizes.to_owned(), names.ids.to_owned());
    match (by_flag, use_sizes, use_ids) {
        (Some((_, groups, source)), false, false) => Ok(Grouping { groups, index, source }),
        (Some((flag, ..)), ..) => {
            let tensor = if use_sizes { sizes } else { ids };
            Err(InputError::GroupsInFile { path: path(), tensor, flag }.into())
        }
        (None, true, true) => Err(InputError::TwoGroupings { path: path(), sizes, ids }.into()),
        (None, false, false) => {
            let present = file.present(names.sizes);
            Err(InputError::NoGroups { path: path(), sizes, ids, present }.into())
        }
        (None, true, false) => {
            let (values, index) = integers(file, names.sizes, "--sizes-name", "[G]")?;
            let index = flag_index.unwrap_or(index);
            Ok(Grouping { groups: values.len(), index, source: Source::Array(values) })
        }
        (None, false, true) => {
            let (ids, index) = integers(file, names.ids, "--ids-name", "[M]")?;
            if ids.len() != m {
                return Err(InputError::Shape {
                    name: names.ids.to_owned(),
                    found: shape(&[ids.len()]),
                    expected: format!("[M] = {}", shape(&[m])),
                    why: format!("`{}` has {m} rows", names.x),
                }
                .into());
            }
            let groups = match weight.groups.or(args.problem.groups) {
                Some(groups) => groups,
                None => inferred_groups(names.ids, &ids, notes)?,
            };
            Ok(Grouping { groups, index: flag_index.unwrap_or(index), source: Source::Ids(ids) })
        }
    }
}

/// One more than the largest id, for a weight that says nothing of the number of experts.
fn inferred_groups(name: &str, ids: &[i64], notes: &mut Vec<String>) -> Result<usize, InputError> {
    let largest = ids.iter().copied().max().unwrap_or(0);
    if largest >= MOST_INFERRED_GROUPS {
        return Err(InputError::InferredGroups { name: name.to_owned(), largest });
    }
    let groups = usize::try_from(largest).unwrap_or(0) + 1;
    notes.push(format!("G = {groups} is the largest of `{name}` and one (say otherwise with --groups)"));
    Ok(groups)
}

/// The values of a tensor of rank 1, and their type.
fn integers(
    file: &mut TensorFile,
    name: &str,
    flag: &'static str,
    expected: &'static str,
) -> Result<(Vec<i64>, IndexType), CliError> {
    let info = file.info(name, flag)?;
    let index = match info.dtype {
        safetensors::Dtype::I32 => IndexType::I32,
        safetensors::Dtype::I64 => IndexType::I64,
        found => return Err(InputError::Dtype { name: name.to_owned(), found, expected: "I32 or I64" }.into()),
    };
    if info.shape.len() != 1 {
        return Err(InputError::Rank { name: name.to_owned(), found: shape(&info.shape), expected }.into());
    }
    let buffer: Buffer = file.read(name, flag)?;
    let values = match buffer.as_slice::<i32>() {
        Some(values) => values.iter().copied().map(i64::from).collect(),
        None => buffer.to_vec::<i64>()?,
    };
    Ok((values, index))
}

/// Refuses groups of another number than the weights or `--groups` say.
pub(super) fn agree_on_groups(
    args: &RunArgs,
    names: &Names<'_>,
    groups: usize,
    weight: WeightForm,
) -> Result<(), CliError> {
    if let Some(experts) = weight.groups.filter(|&experts| experts != groups) {
        if args.problem.sizes.is_some() {
            return Err(UsageError::GroupCountOfFile { listed: groups, name: names.w.to_owned(), experts }.into());
        }
        return Err(InputError::Shape {
            name: names.sizes.to_owned(),
            found: shape(&[groups]),
            expected: format!("[G] = {}", shape(&[experts])),
            why: format!("`{}` has {experts} experts", names.w),
        }
        .into());
    }
    match args.problem.groups.filter(|&given| given != groups) {
        Some(given) if args.problem.sizes.is_some() => {
            Err(UsageError::GroupCount { listed: groups, groups: given }.into())
        }
        Some(given) => {
            let tensor = if weight.groups.is_some() { names.w } else { names.sizes };
            let (given, found) = (given.to_string(), groups.to_string());
            Err(InputError::Flag { flag: "--groups", given, tensor: format!("`{tensor}`"), found }.into())
        }
        None => Ok(()),
    }
}
