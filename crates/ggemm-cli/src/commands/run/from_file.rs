//! A problem whose tensors a safetensors file holds.

use std::path::Path;

use ggemm_codegen::{Dtype, GroupForm, Problem, Tail, WeightSharing};
use ggemm_runtime::Runs;
use ggemm_runtime::random::Values;

use crate::commands::run::args::RunArgs;
use crate::commands::run::case::{self, About, Case};
use crate::commands::run::grouping::{Grouped, Grouping, agree_on_groups, grouping};
use crate::commands::run::synthetic::group_array;
use crate::commands::run::usage::UsageError;
use crate::commands::run::weight_form::{WeightForm, WeightTensor};
use crate::error::CliError;
use crate::files::{InputError, TensorFile, shape};
use crate::parsers::{Layout, TailPolicy, Weights};

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
        .allow_tf32(args.problem.tf32)
        .weight_layout(weight.layout)
        .weight_sharing(weight.sharing)
        .group_array(args.memory.group_form.into(), index)
        .tail(args.problem.tail_policy.map_or(Tail::Undeclared, TailPolicy::into))
        .accumulate(args.problem.accumulate);
    if base.accumulate && base.output != Dtype::F32 {
        return Err(UsageError::AccumulateOutput { output: base.output }.into());
    }
    agree_with_flags(args, &base, &names)?;
    let operations = args.operations()?;
    let fp8 = args.fp8();
    case::validate(&base, &operations, false, !args.running.no_check, fp8.is_some())?;

    let seed = args.data.seed;
    let Grouped { order, values, counted } = source.group(names.ids, &base, seed)?;
    // Sizes that were counted here are sizes; the file's own are what --group-form says.
    let by_size = base.clone().group_array(GroupForm::Sizes, index);
    let runs = Runs::checked(if counted.is_some() { &by_size } else { &base }, values.iter().copied())
        .map_err(|source| UsageError::Groups { source })?;
    let sizes: Vec<i64> = runs.iter().map(|run| i64::try_from(run.len()).unwrap_or(i64::MAX)).collect();
    let groups = group_array(&base, &sizes)?;

    let mut x = file.read(names.x, "--x-name")?;
    let mut random = Vec::new();
    let mut dy = match (Case::reads_dy(&operations), has_dy) {
        (false, _) => case::unread(&base)?,
        (true, true) => file.read(names.dy, "--dy-name")?,
        (true, false) => {
            notes.push(format!("the file has no `{}`: dy is random, normal, seed {seed}", names.dy));
            random.push("dy");
            case::random_dy(&base, m, Values::Normal, seed)?
        }
    };
    if let Some(order) = &order {
        notes.push(format!("tokens were sorted by `{}`, stably; y and dx are written in the file's order", names.ids));
        x = order.gather(&x, k)?;
        if !dy.is_empty() {
            dy = order.gather(&dy, weight.n)?;
        }
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
        fp8,
        x,
        dy,
        groups,
        runs,
        order,
        values: Values::Normal,
        seed,
        random,
        about,
    })
}

/// What the tensors are called.
pub(super) struct Names<'a> {
    pub(super) x: &'a str,
    pub(super) w: &'a str,
    dy: &'a str,
    dy_is_given: bool,
    pub(super) sizes: &'a str,
    pub(super) ids: &'a str,
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
        safetensors::Dtype::F32 => Dtype::F32,
        found => return Err(InputError::Dtype { name: names.x.to_owned(), found, expected: "BF16, F16 or F32" }),
    };
    let dy = if file.has(names.dy) { Some((names.dy, "--dy-name")) } else { None };
    for (name, flag) in [(names.w, "--w-name")].into_iter().chain(dy) {
        let found = file.info(name, flag)?.dtype;
        if !matches!(found, safetensors::Dtype::BF16 | safetensors::Dtype::F16 | safetensors::Dtype::F32) {
            return Err(InputError::Dtype { name: name.to_owned(), found, expected: "BF16, F16 or F32" });
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
