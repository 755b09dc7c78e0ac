//! Runs a mutant where faults show.

use std::sync::OnceLock;

use super::Mutant;
use crate::constraints::ValidSpec;
use crate::dsl::verify;
use crate::dtype::Dtype;
use crate::interp::cases::{Case, Data, Reference, WrongOutput};
use crate::interp::{self, Finding, Memory, Policy, Settings};
use crate::ir::Kernel;
use crate::kernels;
use crate::problem::{GroupForm, IndexType, Problem, ProblemError, Tail, WeightSharing};
use crate::scaling::{SCALE_BLOCK, Scaling};
use crate::scenario::{columns_together, elements_of_piece, ends_of, operation_of, with_operands};
use crate::spec::{CopyPath, KernelSpec, Ragged};

/// Whether a fault was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was.
    Caught {
        /// The finding's name, `wrong values`, or `not well-formed` where the kernel would not have been built.
        by: &'static str,
    },
    /// It was not.
    Survived,
}

/// What a mutant is run on: problems under schedules, all of which the right kernel passes.
pub struct Ground {
    kernel: Kernel,
    problems: Vec<Ready>,
    trials: Vec<Trial>,
}

/// How hard to look for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Every problem under two policies once.
    Once,
    /// As often as each problem needs.
    Often,
}

/// A problem with all that runs share.
struct Ready {
    case: Case,
    memory: Memory,
    reference: Reference,
    /// CTAs that run it.
    ctas: usize,
    /// How often each policy does.
    rounds: u64,
}

impl Ready {
    /// Statements that the right kernel executes for the problem, whose result is as it should be.
    fn statements(&self, kernel: &Kernel, settings: Settings) -> Result<u64, Unsound> {
        let mut memory = self.memory.clone();
        let done = interp::run(kernel, self.case.contraction(), &mut memory, settings).map_err(Unsound::Finding)?;
        let wrong = |wrong| Unsound::Wrong { case: self.case.to_string(), settings, wrong };
        self.reference.check(&memory).map_err(wrong)?;
        Ok(done.statements)
    }
}

/// A problem under a schedule.
struct Trial {
    problem: usize,
    settings: Settings,
    /// Statements that a mutant may execute; known once the right kernel has passed.
    limit: OnceLock<Result<u64, Unsound>>,
}

/// The right kernel does not pass: nothing can be said of its mutants.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unsound {
    /// A problem of the ground means nothing.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// The kernel breaches the protocol.
    #[error("{0}")]
    Finding(Box<Finding>),
    /// The kernel computes something else.
    #[error("{case}, {settings}: {wrong}")]
    Wrong {
        /// The problem.
        case: String,
        /// The schedule.
        settings: Settings,
        /// The element.
        wrong: WrongOutput,
    },
}

/// Statements that a mutant may execute for each of the right kernel's: only endless loops take more.
const PATIENCE: u64 = 4;

/// Those of every round, in their order.
const POLICIES: [Policy; 4] = [Policy::Random, Policy::Late, Policy::Starve, Policy::Eager];

impl Ground {
    /// The ground for mutants of `spec`.
    ///
    /// # Errors
    /// A problem of the ground means nothing.
    pub fn new(spec: &ValidSpec) -> Result<Self, Unsound> {
        let problems = problems(spec)?;
        let mut trials = Vec::new();
        // All problems under one schedule first: most faults show in any.
        let most = problems.iter().map(|p| p.rounds).max().unwrap_or(0);
        for (round, policy) in (0..most).flat_map(|round| POLICIES.map(|policy| (round, policy))) {
            for (problem, ready) in problems.iter().enumerate().filter(|(_, p)| p.rounds > round) {
                let seed = 1 + problem as u64 + 100 * round;
                let settings = Settings { policy, seed, ctas: ready.ctas, ..Settings::default() };
                trials.push(Trial { problem, settings, limit: OnceLock::new() });
            }
        }
        let ground = Ground { kernel: kernels::build(spec), problems, trials };
        ground.short_ones_first()
    }

    /// Brings the problems of each schedule into the order of what the right kernel does for them under the first.
    fn short_ones_first(mut self) -> Result<Self, Unsound> {
        let limits = self.trials[..self.problems.len()].iter().map(|trial| self.limit(trial));
        let limits = limits.collect::<Result<Vec<u64>, _>>()?;
        for schedule in self.trials.chunk_by_mut(|a, b| a.problem < b.problem) {
            schedule.sort_by_key(|trial| limits[trial.problem]);
        }
        Ok(self)
    }

    /// Statements that a mutant may execute in a trial, which the right kernel passes.
    fn limit(&self, trial: &Trial) -> Result<u64, Unsound> {
        let statements = || self.problems[trial.problem].statements(&self.kernel, trial.settings);
        trial.limit.get_or_init(|| Ok(PATIENCE * statements()? + 1000)).clone()
    }
}

/// Runs a mutant until something notices its fault.
///
/// # Errors
/// What is wrong with the unchanged kernel in a trial that the mutant came to.
pub fn hunt(mutant: &Mutant, ground: &Ground, effort: Effort) -> Result<Verdict, Unsound> {
    if !verify::defects(&mutant.kernel).is_empty() {
        return Ok(Verdict::Caught { by: "not well-formed" });
    }
    let trials = match effort {
        Effort::Once => &ground.trials[..2 * ground.problems.len()],
        Effort::Often => &ground.trials[..],
    };
    for trial in trials {
        let settings = Settings { limit: ground.limit(trial)?, ..trial.settings };
        let ready = &ground.problems[trial.problem];
        let mut memory = ready.memory.clone();
        if let Err(finding) = interp::run(&mutant.kernel, ready.case.contraction(), &mut memory, settings) {
            return Ok(Verdict::Caught { by: finding.kind.name() });
        }
        if ready.reference.check(&memory).is_err() {
            return Ok(Verdict::Caught { by: "wrong values" });
        }
    }
    Ok(Verdict::Survived)
}

/// Problems chosen to show faults: what each is there for stands beside it.
fn problems(spec: &ValidSpec) -> Result<Vec<Ready>, ProblemError> {
    let (m, n, k) = (spec.tile.m as usize, spec.tile.n as usize, spec.tile.k as usize);
    // The side that the groups divide, and with it the widths of the other two.
    let (step, wide, narrow) = match spec.ragged {
        Ragged::Rows => (m as i64, n, if spec.even_k { k } else { 8 }),
        Ragged::Reduction => (k as i64, m.max(n), 8),
    };
    let deep = match spec.ragged {
        Ragged::Rows if spec.even_k => 5 * k,
        Ragged::Rows => 4 * k + 1,
        Ragged::Reduction => m + 1,
    };
    let (along_m, along_n) = (spec.cluster.m as usize, spec.cluster.n as usize);
    // The first of the two widths is D's columns where groups divide its rows, else D's rows.
    let along_first = if spec.ragged == Ragged::Rows { along_n } else { along_m };
    let deep_side = if spec.ragged == Ragged::Rows { narrow } else { m };
    // Into the last tile along D's rows, so far that the second of two warpgroups has rows there.
    let into_last = if spec.ragged == Ragged::Reduction { m / 2 + 9 } else { 9 };
    // Of a group an odd number of tiles, so that warpgroups that take turns begin at every slot.
    let in_turns_side = match spec.ragged {
        Ragged::Rows if spec.even_k => 4 * k,
        Ragged::Rows => 3 * k + 17,
        Ragged::Reduction => 2 * n + 17,
    };
    let whole = [2 * step, step, step, 3 * step, 2 * step];
    let ragged = [step + 17, 2 * step + 33, 3 * step + 49, 4 * step + 1, step + 9, 3 * step + 17, 2 * step];
    let in_turns = [9, 4 * step + 1, 9, 4 * step + 1, 9, 9, 4 * step + 1, 9, 4 * step + 1];
    let around = [step + 1, 0, 1, step, step - 1, 4 * step + 3];
    let many: Vec<i64> = (0..70).map(|g| (g * 7 + 3) % 5 % 3).collect();
    let exactly = |count: usize| -> Vec<i64> { (0..count as i64).map(|g| 1 + g % 2).collect() };
    // (sizes, rows past the last group, the two widths, ends, i64, shared or merged, tail, accumulate)
    let mut plans: Vec<Plan> = vec![
        // Sizes around the tile, several blocks of the reduction, several columns, no tail.
        Plan::sizes(&around, 0).widths(wide + into_last, deep),
        // The same as ends of i64, with a tail to be zeroed, one weight for all.
        Plan::sizes(&around, 21).widths(wide + into_last, deep).ends().wide().shared().accumulate(),
        // A tail that nobody may touch; one block of the reduction, less than a tile.
        Plan::sizes(&[3, step, 0, 2], 5).widths(narrow, narrow).tail(Tail::Untouched).accumulate(),
        // More groups than two windows hold, nearly all tiny and some empty.
        Plan::sizes(&many, 3).widths(narrow, narrow).wide(),
        // Windows that are full to the last lane, whose tail is alone in the next one.
        Plan::sizes(&exactly(32), 4).widths(narrow, narrow).accumulate(),
        Plan::sizes(&exactly(64), 0).widths(narrow, narrow).ends(),
        Plan::sizes(&exactly(31), 4).widths(narrow, narrow).ends().tail(Tail::Zero).shared(),
        // The same merged: the last window has lane 0 alone, or begins in the middle of the rows.
        Plan::sizes(&exactly(32), 4).widths(narrow, narrow).shared(),
        Plan::sizes(&exactly(40), 0).widths(narrow, narrow).shared(),
        // Two blocks and no more, the second in part; a single group.
        Plan::sizes(&[step + step / 2], 0).widths(wide, k + 5),
        // So many blocks that a block one element too wide would lose one, even where they fit exactly.
        Plan::sizes(&[2], 0).widths(narrow, if spec.even_k { (k + 2) * k } else { narrow }),
        // A reduction of nothing, or groups of nothing.
        Plan::sizes(&[0, 2, 0], 3).widths(wide + 1, 0),
        Plan::sizes(&[0, 0, 0], 4).widths(narrow, narrow).accumulate(),
        // More than a band of row tiles, and several columns of tiles.
        Plan::sizes(&[3, band_rows(spec) as i64], 0).widths(2 * n + 8, narrow).band(),
        // Groups that contradict the problem: they are clipped.
        Plan::values(&[-5, 3, 900, 2], 40).widths(wide, narrow).wide(),
        Plan::values(&[9, 3, 20, -4, 17, 900], 40).widths(narrow, wide).ends(),
        Plan::values(&[i64::MAX, i64::MIN, 1, 1], 10).widths(narrow, narrow).wide().shared(),
        Plan::values(&[1, 1 << 33, i64::MIN, 2], 10).widths(narrow, narrow).wide().ends(),
        // The same where the second window is the one that leads past the rows.
        Plan::values(&[3; 40], 100).widths(narrow, narrow),
        // Several tiles of one CTA, of as many whole blocks each as stages may be, one fewer and one more.
        Plan::sizes(&whole, 0).widths(narrow, k).alone(),
        Plan::sizes(&whole, 0).widths(narrow, 2 * k).alone(),
        Plan::sizes(&whole, 2).widths(narrow, 3 * k).alone(),
        // Several tiles of one CTA, whose last blocks are one, two and three k16 steps and one element: they start at
        // different slots, and loads may land in another order than they were started in.
        Plan::sizes(&ragged, 0).widths(deep_side, in_turns_side).alone().often(),
        Plan::sizes(&in_turns, 0).widths(deep_side, narrow).alone().often(),
        // So many tiles along a side of D that one column more to each would lose one.
        Plan::sizes(&[2], 0).widths(8 * wide * along_first + 8, narrow),
    ];
    if spec.d_by_threads {
        // A panel that ends in its midst, whatever its elements, in the rows of all warpgroups.
        let side = if spec.ragged == Ragged::Rows { 45 } else { m - 3 };
        plans.push(Plan::sizes(&[3, step - 7], 1).widths(side, 45).accumulate());
    }
    if spec.swapped {
        // Tiles of every number of rows for either of two warpgroups, each with one row in its last step: several columns
        // of them, of one block each, and so many blocks that they begin at every slot and come round.
        let up = (0..step / 8).map(|steps| 8 * steps + 1);
        let sizes: Vec<i64> = up.clone().chain(up.rev()).collect();
        plans.push(Plan::sizes(&sizes, 0).widths(wide + into_last, narrow));
        plans.push(Plan::sizes(&sizes, 0).widths(narrow, k).alone());
        plans
            .push(Plan::sizes(&[&sizes[..], &sizes, &sizes].concat(), 0).widths(narrow, in_turns_side).alone().often());
    }
    if spec.split > 1 {
        // Reductions of as many whole blocks as CTAs divide among them, one more element, and one block less; and one whose
        // last part ends one element into its last block.
        let whole = spec.split as usize * k;
        for length in [whole, whole + 1, whole - k, 3 * whole - k + 1] {
            let (rows, widths) = match spec.ragged {
                Ragged::Rows => (vec![step, 3], (narrow, length)),
                Ragged::Reduction => (vec![length as i64, 2 * whole as i64], (narrow, narrow)),
            };
            plans.push(Plan::sizes(&rows, 0).widths(widths.0, widths.1));
        }
    }
    if spec.stream_k {
        // (tiles, CTAs, blocks of the reduction) of which the last wave's are cut: in each way, with as many CTAs as that needs
        // and with one more; behind a whole wave; of helpers with as many items as they may have, and with one.
        let waves = [
            (2, 6, 27),
            (1, 3, 20),
            (1, 4, 39),
            (2, 6, 52),
            (1, 5, 52),
            (2, 4, 27),
            (2, 8, 52),
            (2, 5, 27),
            (4, 3, 27),
            (2, 3, 39),
            (8, 3, 39),
            (3, 5, 39),
            (3, 3, 27),
            (3, 4, 68),
            (7, 10, 68),
            (5, 9, 39),
        ];
        for (tiles, ctas, blocks) in waves {
            let plan = match spec.ragged {
                Ragged::Rows => Plan::sizes(&[(tiles * m - 55) as i64], 0).widths(narrow, blocks * k - 7),
                Ragged::Reduction => {
                    Plan::sizes(&[(blocks * k - 7) as i64], 0).widths((tiles - 1) * m + narrow, narrow)
                }
            };
            // Warpgroups in turns add up two tiles' parts at one time, where a CTA has an end of each.
            let is_shared_by_two = (tiles, ctas) == (5, 9);
            plans.push(if is_shared_by_two { plan.on(ctas).often() } else { plan.on(ctas) });
        }
        // An element more than as many blocks as units divide among them.
        let (rows, cols, more) = ((2 * m - 55) as i64, m + narrow, 28 * k + 1);
        plans.push(match spec.ragged {
            Ragged::Rows => Plan::sizes(&[rows], 0).widths(narrow, more).on(4),
            Ragged::Reduction => Plan::sizes(&[more as i64], 0).widths(cols, narrow).on(4),
        });
        // Behind a whole wave a tile of nothing is cut: who helps with it is done at once, beside a warpgroup that is still
        // writing out. Of rows that is a tail.
        plans.push(match spec.ragged {
            Ragged::Rows => Plan::sizes(&[2 * step], 1).widths(narrow, 20 * k).tail(Tail::Zero).on(2).often(),
            Ragged::Reduction => {
                Plan::sizes(&[30 * k as i64, 30 * k as i64, 0], 0).widths(narrow, narrow).on(2).often()
            }
        });
        if spec.ragged == Ragged::Reduction {
            // Groups of which one is shorter than its units are.
            plans.push(Plan::sizes(&[9, 70 * k as i64, 0], 0).widths(narrow, narrow).on(8));
        }
        if spec.dynamic && spec.ragged == Ragged::Rows {
            // Who helps with a tail, and is done at once, may own the tile before it.
            plans.push(Plan::sizes(&[4 * step, 3], 5).widths(narrow, 20 * k).tail(Tail::Zero).on(4).often());
            // Behind a whole wave tiles of two windows: a CTA that helps with one of the second may own one of the first.
            let sizes: Vec<i64> = [4 * m as i64, 1].into_iter().chain([0; 30]).chain([1]).collect();
            plans.push(Plan::sizes(&sizes, 0).widths(narrow, 20 * k).on(4).often());
        }
        // Rows and nonsense in the second window: the first is known ahead, and the others are counted as without stream-K.
        let second = [m as i64 + 1, m as i64, -5, 3, i64::MAX, 2];
        let sizes: Vec<i64> = [0; 33].into_iter().chain(second).collect();
        plans.push(Plan::values(&sizes, 3 * m + 9).widths(narrow, narrow).wide().on(3));
        if spec.ragged == Ragged::Reduction {
            // One reduction of all groups; of so many that the second window's last lane alone has none.
            plans.push(Plan::sizes(&[14 * k as i64, 14 * k as i64], 0).widths(narrow, narrow).shared().on(3));
            plans.push(Plan::sizes(&exactly(63), 0).widths(narrow, narrow).shared());
        }
    }
    if spec.scaling == Scaling::Block && spec.schedule.is_warp_specialized() {
        // Several tiles of one CTA, of more blocks than their ring holds scales of: they begin at either slot, and come
        // round. Some fill the last slot to the last element.
        let blocks = [9, 4, 8, 1, 5, 12, 4, 3];
        plans.push(match spec.ragged {
            Ragged::Rows => Plan::sizes(&[step, 3, step, 3], 0).widths(narrow, 9 * k).alone().often(),
            Ragged::Reduction => {
                let sizes: Vec<i64> = blocks.iter().map(|blocks| (blocks * k) as i64).collect();
                Plan::sizes(&sizes, 0).widths(narrow, narrow).alone().often()
            }
        });
        if spec.ragged == Ragged::Rows {
            plans.push(Plan::sizes(&[step, 3, step, 3, 9], 0).widths(narrow, 5 * k).alone().often());
            plans.push(Plan::sizes(&[step, 3, step], 0).widths(narrow, 8 * k).alone());
            // A last tile of as many columns as share a scale.
            plans.push(Plan::sizes(&[3], 0).widths(n + SCALE_BLOCK, narrow));
        }
    }
    if spec.ragged == Ragged::Reduction {
        plans.push(Plan::sizes(&[2], 0).widths(narrow, 8 * n * along_n + 8));
    }
    if spec.ragged == Ragged::Reduction && spec.operand.is_fp8() {
        // Merged rows that end one behind a block, in the last lane's group: operands end in zeros, and only there does a
        // row that is forgotten make a block fewer.
        let mut last = vec![0; 32];
        (last[0], last[31]) = (step, 1);
        plans.push(Plan::sizes(&last, 0).widths(narrow, narrow).shared());
    }
    let ready = |(i, plan): (usize, Plan)| {
        let ctas = plan.ctas.unwrap_or(if plan.alone { 1 } else { [3, 1, 2][i % 3] });
        let rounds = plan.rounds;
        let case = plan.case(spec, i as u64)?;
        Ok(Ready {
            memory: case.memory(),
            reference: case.reference(),
            case,
            ctas: ctas * spec.cluster_ctas() as usize,
            rounds,
        })
    };
    plans.into_iter().enumerate().map(ready).collect()
}

/// Rows of D that are more than a band of row tiles.
fn band_rows(spec: &KernelSpec) -> usize {
    ((kernels::band(spec) + 2) * spec.tile.m * spec.cluster.m) as usize + 1
}

/// A problem in the making.
struct Plan {
    values: Vec<i64>,
    rows: usize,
    n: usize,
    k: usize,
    ends: bool,
    wide: bool,
    shared: bool,
    accumulate: bool,
    /// The tiles are to be many along the rows of D.
    band: bool,
    /// One CTA, or one cluster, does all.
    alone: bool,
    /// So many CTAs do.
    ctas: Option<usize>,
    /// How often each policy runs it.
    rounds: u64,
    tail: Tail,
}

impl Plan {
    fn values(values: &[i64], rows: usize) -> Self {
        Plan {
            values: values.to_vec(),
            rows,
            n: 8,
            k: 8,
            ends: false,
            wide: false,
            shared: false,
            accumulate: false,
            band: false,
            alone: false,
            ctas: None,
            rounds: 1,
            tail: Tail::Undeclared,
        }
    }

    /// Sizes that are as they should be, and rows past them.
    fn sizes(sizes: &[i64], past: usize) -> Self {
        Plan::values(sizes, sizes.iter().sum::<i64>() as usize + past)
    }

    fn widths(self, n: usize, k: usize) -> Self {
        Plan { n, k, ..self }
    }

    fn ends(self) -> Self {
        Plan { ends: true, ..self }
    }

    fn wide(self) -> Self {
        Plan { wide: true, ..self }
    }

    fn shared(self) -> Self {
        Plan { shared: true, ..self }
    }

    fn accumulate(self) -> Self {
        Plan { accumulate: true, ..self }
    }

    fn band(self) -> Self {
        Plan { band: true, ..self }
    }

    fn alone(self) -> Self {
        Plan { alone: true, ..self }
    }

    fn on(self, ctas: usize) -> Self {
        Plan { ctas: Some(ctas), ..self }
    }

    /// What needs an unlucky moment needs several.
    fn often(self) -> Self {
        Plan { rounds: 6, ..self }
    }

    fn tail(self, tail: Tail) -> Self {
        Plan { tail, ..self }
    }

    fn case(mut self, spec: &ValidSpec, seed: u64) -> Result<Case, ProblemError> {
        let (operation, layout) = operation_of(spec);
        if spec.ragged == Ragged::Reduction && self.band {
            // The rows of D are no group's: the weight is as high as the group was long.
            (self.values, self.rows, self.k) = (vec![2, 1], 3, self.n);
            self.n = band_rows(spec);
        }
        if spec.even_k {
            self.k = self.k.next_multiple_of(spec.tile.k as usize);
        }
        let cols = if spec.ragged == Ragged::Reduction { &mut self.k } else { &mut self.n };
        *cols = cols.next_multiple_of(columns_together(spec));
        let groups = match self.ends && self.values.iter().all(|v| (0..1000).contains(v)) && self.is_sizes() {
            true => ends_of(&self.values),
            false => self.values.clone(),
        };
        let sharing = if self.shared { WeightSharing::Shared } else { WeightSharing::PerExpert };
        let form = if self.ends { GroupForm::Ends } else { GroupForm::Sizes };
        let index = if self.wide { IndexType::I64 } else { IndexType::I32 };
        let problem = Problem::new(operation, groups.len(), self.rows, self.n, self.k).weight_layout(layout);
        let mut problem = with_operands(problem, spec)
            .output(spec.output)
            .weight_sharing(sharing)
            .group_array(form, index)
            .tail(self.tail);
        if spec.ragged == Ragged::Reduction && spec.output == Dtype::F32 {
            problem = problem.accumulate(self.accumulate);
        }
        // Padding after every row and every matrix, so that what is read past them is NaN.
        let pad = |length: usize, is_d: bool| match spec.copy {
            CopyPath::Tma if is_d && spec.d_by_threads => length + 1,
            CopyPath::CpAsync | CopyPath::Tma => (length + 1).next_multiple_of(elements_of_piece(spec)),
            CopyPath::Plain => length + 1,
        };
        let is_weight = spec.ragged == Ragged::Reduction;
        let weight_rows = problem.weight_shape();
        let w = pad(weight_rows.1, is_weight);
        let [first, second, _] = problem.tensors();
        // Copies that lie along the reduction have rows of their own.
        let (x, y) = if problem.reduction_blocks { (second.cols, first.cols) } else { (self.k, self.n) };
        let problem = problem.x_row_stride(pad(x, false)).y_row_stride(pad(y, !is_weight)).w_row_stride(w);
        let problem = problem.w_group_stride(pad(weight_rows.0 * w, is_weight));
        Case::new(problem, &groups, seed, Data::Integers)
    }

    /// The values sum to no more than there are rows.
    fn is_sizes(&self) -> bool {
        self.values.iter().sum::<i64>() <= self.rows as i64
    }
}
