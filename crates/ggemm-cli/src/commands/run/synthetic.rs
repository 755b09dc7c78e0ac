//! A problem made of flags alone.

use ggemm_codegen::{Dtype, GroupForm, IndexType, Operation, Problem, Tail, WeightLayout, WeightSharing};
use ggemm_runtime::random::Values;
use ggemm_runtime::{Buffer, Device, Error, Runs};

use crate::commands::run::args::defaults::{self, interpreted};
use crate::commands::run::args::{BackendArg, MemoryArgs, ProblemArgs, RunArgs};
use crate::commands::run::case::{self, About, Case};
use crate::commands::run::router::Router;
use crate::commands::run::usage::UsageError;
use crate::error::CliError;
use crate::parsers::{Layout, TailPolicy, Weights};

/// Checks the flags and makes the tensors that they ask for.
pub(crate) fn build(args: &RunArgs) -> Result<Case, CliError> {
    let interpreted = args.running.backend == BackendArg::Interpret;
    let Shape { base, routing } = shape(&args.problem, &args.memory, interpreted)?;
    let values = if args.data.exact { Values::SmallIntegers } else { Values::Normal };
    let operations = args.operations()?;
    let fp8 = args.fp8();
    case::validate(&base, &operations, args.data.exact, !args.running.no_check, fp8.is_some())?;

    let seed = args.data.seed;
    let (sizes, groups_from) = routing.sizes(base.groups, seed);
    let live = sizes.iter().sum();
    let sizes: Vec<i64> = sizes.into_iter().map(|size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
    let groups = group_array(&base, &sizes)?;
    let by_size = base.clone().group_array(GroupForm::Sizes, base.group_index);
    let runs = Runs::checked(&by_size, sizes).map_err(|source| UsageError::Groups { source })?;
    let data = match values {
        Values::SmallIntegers => format!("small random integers, seed {seed}"),
        _ => format!("random, normal, seed {seed}"),
    };
    let mut random = vec!["x", "w"];
    let dy = if Case::reads_dy(&operations) {
        random.push("dy");
        case::random_dy(&base, live, values, seed)?
    } else {
        case::unread(&base)?
    };
    Ok(Case {
        x: case::random_x(&base, live, values, seed)?,
        w: case::random_w(&base, values, seed)?,
        dy,
        base,
        operations,
        fp8,
        groups,
        runs,
        order: None,
        values,
        seed,
        random,
        about: About { groups: groups_from, data, notes: Vec::new() },
    })
}

/// The problems that these flags of `ggemm run` describe, one an operation.
pub(crate) fn problems(problem: &ProblemArgs, memory: &MemoryArgs) -> Result<Vec<Problem>, UsageError> {
    let Shape { base, .. } = shape(problem, memory, false)?;
    let wanted = |operation: &Operation| problem.ops.is_empty() || problem.ops.contains(operation);
    let problems: Vec<Problem> =
        Operation::ALL.into_iter().filter(wanted).map(|operation| base.clone().with_operation(operation)).collect();
    problems.iter().try_for_each(Problem::validate)?;
    Ok(problems)
}

/// The shape of the layer, and how its rows are to be spread.
struct Shape {
    base: Problem,
    routing: Routing,
}

/// Sizes, or a way to make them once the shape is known to be one.
enum Routing {
    Listed(Vec<usize>),
    Routed { router: Router, rows: usize },
}

impl Routing {
    fn sizes(self, groups: usize, seed: u64) -> (Vec<usize>, String) {
        match self {
            Routing::Listed(sizes) => (sizes, "listed".to_owned()),
            Routing::Routed { router: Router::Balanced, rows } => {
                (Router::Balanced.sizes(groups, rows, seed), "balanced".to_owned())
            }
            Routing::Routed { router, rows } => {
                (router.sizes(groups, rows, seed), format!("router {}, seed {seed}", router.name()))
            }
        }
    }
}

fn shape(problem: &ProblemArgs, memory: &MemoryArgs, interpreted: bool) -> Result<Shape, UsageError> {
    let tail = problem.tail.unwrap_or(0);
    if tail == 0 && problem.tail_policy.is_some() {
        return Err(UsageError::NoTail);
    }
    let (sizes, n, k) = match interpreted {
        false => (defaults::SIZES, defaults::N, defaults::K),
        true => (interpreted::SIZES, interpreted::N, interpreted::K),
    };
    let default_rows: usize = sizes.iter().sum();
    let routed = problem.router.is_some() || problem.groups.is_some() || problem.rows.is_some();
    let (routing, groups, rows) = match &problem.sizes {
        Some(sizes) => listed(&sizes.0, problem.groups, problem.rows, tail)?,
        None if routed => {
            let rows = match problem.rows {
                Some(rows) => rows,
                None => default_rows.checked_add(tail).ok_or(UsageError::TooManyRows)?,
            };
            let owned = rows.checked_sub(tail).ok_or(UsageError::TailPastRows { tail, rows })?;
            let router = problem.router.unwrap_or(Router::Balanced);
            let groups = problem.groups.unwrap_or(sizes.len());
            (Routing::Routed { router, rows: owned }, groups, rows)
        }
        None => listed(&sizes, None, None, tail)?,
    };

    let operand = problem.dtype.unwrap_or(Dtype::Bf16);
    let output = problem.output_dtype.unwrap_or(operand);
    if problem.accumulate && output != Dtype::F32 {
        return Err(UsageError::AccumulateOutput { output });
    }
    let sharing = problem.weights.map_or(WeightSharing::Shared, Weights::into);
    if memory.w_group_stride.is_some() && sharing == WeightSharing::Shared {
        return Err(UsageError::SharedGroupStride);
    }
    let index = memory.group_index.map_or(IndexType::I32, Into::into);
    let declared = if tail > 0 { problem.tail_policy.map_or(Tail::Zero, TailPolicy::into) } else { Tail::Undeclared };
    let (n, k) = (problem.n.unwrap_or(n), problem.k.unwrap_or(k));
    let mut base = Problem::grad_w(groups, rows, n, k)
        .operand(operand)
        .output(output)
        .allow_tf32(problem.tf32)
        .weight_layout(problem.weight_layout.map_or(WeightLayout::Nk, Layout::into))
        .weight_sharing(sharing)
        .group_array(memory.group_form.into(), index)
        .tail(declared)
        .accumulate(problem.accumulate);
    base.x_row_stride = memory.x_row_stride;
    base.y_row_stride = memory.y_row_stride;
    base.w_row_stride = memory.w_row_stride;
    base.w_group_stride = memory.w_group_stride;
    Ok(Shape { base, routing })
}

/// Sizes that are listed, held against what other flags say of them.
fn listed(
    sizes: &[usize],
    groups: Option<usize>,
    rows: Option<usize>,
    tail: usize,
) -> Result<(Routing, usize, usize), UsageError> {
    let listed = sizes.len();
    if let Some(groups) = groups.filter(|&groups| groups != listed) {
        return Err(UsageError::GroupCount { listed, groups });
    }
    let sum = sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size)).ok_or(UsageError::TooManyRows)?;
    let total = sum.checked_add(tail).ok_or(UsageError::TooManyRows)?;
    match rows {
        Some(rows) if rows != total && tail == 0 => Err(UsageError::RowCount { sum, rows }),
        Some(rows) if rows != total => Err(UsageError::RowCountWithTail { sum, tail, total, rows }),
        _ => Ok((Routing::Listed(sizes.to_vec()), listed, total)),
    }
}

/// The device's array of sizes or ends.
pub(crate) fn group_array(base: &Problem, sizes: &[i64]) -> Result<Buffer, Error> {
    let mut end = 0_i64;
    let values = sizes.iter().map(|&size| {
        end = end.saturating_add(size);
        if base.group_form == GroupForm::Ends { end } else { size }
    });
    match base.group_index {
        // A valid problem has fewer than 2³¹ rows, and its groups own no more.
        IndexType::I32 => {
            let values: Vec<i32> = values.map(|value| i32::try_from(value).unwrap_or(i32::MAX)).collect();
            Buffer::from_slice(&Device::cpu(), &values)
        }
        IndexType::I64 => Buffer::from_slice(&Device::cpu(), &values.collect::<Vec<i64>>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(flags: &[&str]) -> Result<Problem, UsageError> {
        let args = RunArgs::parse_flags(flags).expect("clap takes the flags");
        shape(&args.problem, &args.memory, false).map(|shape| shape.base)
    }

    #[test]
    fn the_default_is_the_seeds_problem() {
        let base = base(&[]).unwrap();
        assert_eq!(base.to_string(), "grad_w bf16->bf16 G=4 M=6144 N=512 K=256 w=[N,K] sizes:i32");
    }

    #[test]
    fn flags_say_all_of_a_problem() {
        let flags = "--sizes 3,0,4 --tail 2 --rows 9 --groups 3 -n 5 -k 7 --dtype f16 --output-dtype f32 --weights per-expert \
                     --weight-layout kn --tail-policy untouched --accumulate --group-form ends --group-index i64 \
                     --x-row-stride 8 --y-row-stride 6 --w-row-stride 9 --w-group-stride 70";
        let base = base(&flags.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!(
            base.to_string(),
            "grad_w f16->f32 G=3 M=9 N=5 K=7 w=[G,K,N] x_row_stride=8 y_row_stride=6 w_row_stride=9 w_group_stride=70 \
             ends:i64 tail=untouched accumulate"
        );
    }

    #[test]
    fn contradictions_are_refused() {
        let text = |flags: &[&str]| base(flags).unwrap_err().to_string();
        insta::assert_snapshot!(text(&["--sizes", "3,4", "--groups", "3"]), @"--sizes lists 2 groups and --groups says 3: drop --groups, or list 3 sizes");
        insta::assert_snapshot!(text(&["--sizes", "3,4", "--rows", "9"]), @"--sizes sums to 7 and --rows says 9: drop --rows, or declare the other 2 rows as a tail with --tail 2");
        insta::assert_snapshot!(text(&["--sizes", "3,4", "--rows", "6"]), @"--sizes sums to 7 and --rows says 6: drop --rows");
        insta::assert_snapshot!(text(&["--sizes", "3,4", "--rows", "6", "--tail", "1"]), @"--sizes sums to 7, with --tail 1 that is 8, and --rows says 6: drop --rows");
        insta::assert_snapshot!(text(&["--router", "zipf", "--rows", "6", "--tail", "7"]), @"--tail 7 is more than --rows 6, which counts the tail's rows too: give at most 6");
        insta::assert_snapshot!(text(&["--tail-policy", "zero"]), @"--tail-policy is about rows past the last group, and there are none: add --tail ROWS");
        insta::assert_snapshot!(text(&["--accumulate"]), @"--accumulate adds grad_w to an f32 output, and the output is bf16: add --output-dtype f32");
        insta::assert_snapshot!(text(&["--w-group-stride", "9"]), @"--w-group-stride is about one weight for each group, and all share one: add --weights per-expert");
        insta::assert_snapshot!(text(&["--sizes", "18446744073709551615,1"]), @"the rows of all groups and the tail together are past the largest number: give fewer");
    }

    #[test]
    fn ends_are_running_sums() {
        let base = Problem::grad_w(3, 7, 1, 1);
        let sizes = [3, 0, 4];
        assert_eq!(group_array(&base, &sizes).unwrap().to_vec::<i32>().unwrap(), [3, 0, 4]);
        let ends = base.group_array(GroupForm::Ends, IndexType::I64);
        assert_eq!(group_array(&ends, &sizes).unwrap().to_vec::<i64>().unwrap(), [3, 3, 7]);
    }
}
