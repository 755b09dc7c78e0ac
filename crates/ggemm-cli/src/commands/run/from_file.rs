//! A problem whose tensors a safetensors file holds.

use std::path::Path;

use ggemm_codegen::{Dtype, GroupForm, IndexType, Problem, Tail, WeightSharing};
use ggemm_runtime::random::Values;
use ggemm_runtime::{Buffer, Runs};

use crate::commands::run::args::{RunArgs, defaults};
use crate::commands::run::case::{self, About, Case};
use crate::commands::run::router::Router;
use crate::commands::run::synthetic::group_array;
use crate::commands::run::tokens::TokenOrder;
use crate::commands::run::usage::UsageError;
use crate::commands::run::weight_form::{WeightForm, WeightTensor};
use crate::error::CliError;
use crate::files::{InputError, TensorFile, shape};
use crate::parsers::{Layout, TailPolicy, Weights};

/// The most groups that expert ids alone may make.
const MOST_INFERRED_GROUPS: i64 = 1 << 20;

/// Reads the file and checks it against the flags.
pub(crate) fn load(args: &RunArgs, path: &Path) -> Result<Case, CliError> {
    let mut file = TensorFile::open(path)?;
    let names = Names::new(args);
    let operand = operand_type(&file, &names)?;
    let x_shape = matrix(&file, names.x, "--x-name", "[M, K]")?;
    let [m, k] = x_shape;
    let weight = weight_form(args, &file, &names, x_shape)?;
    let has_dy = dy(&file, &names, [m, weight.n])?;
    let mut notes = Vec::new();
    if weight.ambiguous {
        notes.push(format!("`{}` is square: read as [N, K] (take --weight-layout kn where it is [K, N])", names.w));
    }

    let Grouping { groups, index, source } = grouping(args, &mut file, &names, m, weight, &mut notes)?;
    agree_on_groups(args, &names, groups, weight)?;
    let base = Problem::grad_w(groups, m, weight.n, k)
        .operand(operand)
        .output(args.problem.output_dtype.unwrap_or(operand))
        .weight_layout(weight.layout)
        .weight_sharing(weight.sharing)
        .group_array(args.memory.group_form.into(), index)
        .tail(args.problem.tail_policy.map_or(Tail::Undeclared, TailPolicy::into))
        .accumulate(args.problem.accumulate);
    if base.accumulate && base.output != Dtype::F32 {
        return Err(UsageError::AccumulateOutput { output: base.output }.into());
    }
    agree_with_flags(args, &base, &names)?;
    let operations = args.operations();
    case::validate(&base, &operations, false, !args.running.no_check)?;

    let seed = args.data.seed;
    let Grouped { order, values, counted } = source.group(names.ids, &base, seed)?;
    // Sizes that were counted here are sizes; the file's own are what --group-form says.
    let by_size = base.clone().group_array(GroupForm::Sizes, index);
    let runs = Runs::checked(if counted.is_some() { &by_size } else { &base }, values.iter().copied())
        .map_err(|source| UsageError::Groups { source })?;
    let sizes: Vec<i64> = runs.iter().map(|run| i64::try_from(run.len()).unwrap_or(i64::MAX)).collect();
    let groups = group_array(&base, &sizes)?;

    let mut x = file.read(names.x, "--x-name")?;
    let mut dy =
        if has_dy { file.read(names.dy, "--dy-name")? } else { case::random_dy(&base, m, Values::Normal, seed)? };
    if let Some(order) = &order {
        x = order.gather(&x, k)?;
        if has_dy {
            dy = order.gather(&dy, weight.n)?;
        }
        notes.push(format!("tokens were sorted by `{}`, stably; y and dx are written in the file's order", names.ids));
    }
    if !has_dy {
        notes.push(format!("the file has no `{}`: dy is random, normal, seed {seed}", names.dy));
    }
    let about = About {
        groups: counted.unwrap_or_else(|| format!("`{}`", names.sizes)),
        data: path.display().to_string(),
        notes,
    };
    Ok(Case {
        w: file.read(names.w, "--w-name")?,
        base,
        operations,
        x,
        dy,
        groups,
        runs,
        order,
        values: Values::Normal,
        seed,
        random: if has_dy { Vec::new() } else { vec!["dy"] },
        about,
    })
}

/// What the tensors are called.
struct Names<'a> {
    x: &'a str,
    w: &'a str,
    dy: &'a str,
    dy_is_given: bool,
    sizes: &'a str,
    ids: &'a str,
}

impl<'a> Names<'a> {
    fn new(args: &'a RunArgs) -> Self {
        let data = &args.data;
        Names {
            x: data.x_name.as_deref().unwrap_or("x"),
            w: data.w_name.as_deref().unwrap_or("w"),
            dy: data.dy_name.as_deref().unwrap_or("dy"),
            dy_is_given: data.dy_name.is_some(),
            sizes: data.sizes_name.as_deref().unwrap_or("m_sizes"),
            ids: data.ids_name.as_deref().unwrap_or("expert_ids"),
        }
    }
}

/// The type of x, which w and dy must share.
fn operand_type(file: &TensorFile, names: &Names<'_>) -> Result<Dtype, InputError> {
    let x = file.info(names.x, "--x-name")?.dtype;
    let operand = match x {
        safetensors::Dtype::BF16 => Dtype::Bf16,
        safetensors::Dtype::F16 => Dtype::F16,
        found => return Err(InputError::Dtype { name: names.x.to_owned(), found, expected: "BF16 or F16" }),
    };
    let dy = if file.has(names.dy) { Some((names.dy, "--dy-name")) } else { None };
    for (name, flag) in [(names.w, "--w-name")].into_iter().chain(dy) {
        let found = file.info(name, flag)?.dtype;
        if !matches!(found, safetensors::Dtype::BF16 | safetensors::Dtype::F16) {
            return Err(InputError::Dtype { name: name.to_owned(), found, expected: "BF16 or F16" });
        }
        if found != x {
            return Err(InputError::MixedDtypes {
                name: names.x.to_owned(),
                found: x,
                other: name.to_owned(),
                other_found: found,
            });
        }
    }
    Ok(operand)
}

fn matrix(file: &TensorFile, name: &str, flag: &'static str, expected: &'static str) -> Result<[usize; 2], InputError> {
    let info = file.info(name, flag)?;
    <[usize; 2]>::try_from(info.shape.as_slice()).map_err(|_| InputError::Rank {
        name: name.to_owned(),
        found: shape(&info.shape),
        expected,
    })
}

fn weight_form(
    args: &RunArgs,
    file: &TensorFile,
    names: &Names<'_>,
    x_shape: [usize; 2],
) -> Result<WeightForm, InputError> {
    let info = file.info(names.w, "--w-name")?;
    let asked = args.problem.weight_layout.map(Layout::into);
    let form = WeightTensor { name: names.w, shape: &info.shape, x_name: names.x, x_shape, asked }.form()?;
    if let Some(weights) = args.problem.weights
        && WeightSharing::from(weights) != form.sharing
    {
        let text = |weights| if weights == Weights::Shared { "shared" } else { "per-expert" };
        let other = if weights == Weights::Shared { Weights::PerExpert } else { Weights::Shared };
        return Err(InputError::Flag {
            flag: "--weights",
            given: text(weights).to_owned(),
            tensor: format!("`{}` {}", names.w, shape(&info.shape)),
            found: text(other).to_owned(),
        });
    }
    Ok(form)
}

/// Whether there is a dy, which then has to be [M, N].
fn dy(file: &TensorFile, names: &Names<'_>, expected: [usize; 2]) -> Result<bool, InputError> {
    if !file.has(names.dy) {
        // A name that was given and is not there is a mistake; the default one may be missing.
        return if names.dy_is_given { file.info(names.dy, "--dy-name").map(|_| true) } else { Ok(false) };
    }
    let found = matrix(file, names.dy, "--dy-name", "[M, N]")?;
    if found == expected {
        return Ok(true);
    }
    Err(InputError::Shape {
        name: names.dy.to_owned(),
        found: shape(&found),
        expected: format!("[M, N] = {}", shape(&expected)),
        why: format!("`{}` has {} rows and `{}` makes N = {}", names.x, expected[0], names.w, expected[1]),
    })
}

/// How the groups are given.
struct Grouping {
    groups: usize,
    index: IndexType,
    source: Source,
}

/// Where sizes come from.
enum Source {
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
struct Grouped {
    /// The order of tokens that were not sorted.
    order: Option<TokenOrder>,
    /// Sizes; of an array of the file, what it holds.
    values: Vec<i64>,
    /// How sizes were made that the file does not hold.
    counted: Option<String>,
}

impl Source {
    fn group(self, ids_name: &str, base: &Problem, seed: u64) -> Result<Grouped, InputError> {
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

fn grouping(
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
fn agree_on_groups(args: &RunArgs, names: &Names<'_>, groups: usize, weight: WeightForm) -> Result<(), CliError> {
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

/// Refuses flags that say something else than the file.
fn agree_with_flags(args: &RunArgs, base: &Problem, names: &Names<'_>) -> Result<(), InputError> {
    let (x, w) = (format!("`{}`", names.x), format!("`{}`", names.w));
    let problem = &args.problem;
    let counts = [("--rows", problem.rows, base.m, &x), ("-n", problem.n, base.n, &w), ("-k", problem.k, base.k, &x)];
    for (flag, given, found, tensor) in counts {
        if let Some(given) = given.filter(|&given| given != found) {
            let (given, tensor) = (given.to_string(), tensor.clone());
            return Err(InputError::Flag { flag, given, tensor, found: found.to_string() });
        }
    }
    if let Some(given) = problem.dtype.filter(|&given| given != base.operand) {
        let (given, found) = (given.to_string(), base.operand.to_string());
        return Err(InputError::Flag { flag: "--dtype", given, tensor: x, found });
    }
    Ok(())
}
