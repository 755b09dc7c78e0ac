//! Times the variants of one case.

use ggemm_codegen::Problem;
use ggemm_report::{Rates, Row};
use ggemm_runtime::Error;
use ggemm_runtime::tune::{Clock, Task, Wrong, take_turns};

use super::cases::Case;
use super::ground::{Ground, Which};
use crate::memory;
use crate::numbers::bytes;

/// What came of a case.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// The fastest first.
    pub(super) rows: Vec<Row>,
    /// Variants whose results are wrong, and how; they have no rows.
    pub(super) wrong: Vec<String>,
    /// Why nothing was timed.
    pub(super) left_out: Option<String>,
}

/// Times a case. What does not fit the memory, and what no kernel computes, is left out.
pub(super) fn measure(
    ground: &mut Ground,
    case: &Case,
    which: &Which,
    rounds: usize,
    rates: Option<&Rates>,
    progress: &mut dyn FnMut(f64),
) -> Result<Measured, Error> {
    let left_out = |why: String| {
        let why = format!("{}: {why}", case.task.label());
        Measured { left_out: Some(why), ..Measured::default() }
    };
    let needed = host_bytes(case.task.problem());
    if let Some(available) = memory::available().filter(|available| needed > *available) {
        let (needed, available) = (bytes(needed), bytes(available));
        return Ok(left_out(format!("its tensors take {needed} of the host's memory, and {available} are free")));
    }
    match timed(ground, case, which, rounds, rates, progress) {
        Err(error @ (Error::OutOfMemory { .. } | Error::NoVariant { .. } | Error::NoFp8Kernel { .. })) => {
            Ok(left_out(error.to_string()))
        }
        Ok(measured) if measured.rows.is_empty() => {
            let named = measured.wrong.is_empty();
            let why = if named { "no variant of that name computes it" } else { "no variant computes it right" };
            Ok(Measured { wrong: measured.wrong, ..left_out(why.to_owned()) })
        }
        measured => measured,
    }
}

fn timed(
    ground: &mut Ground,
    case: &Case,
    which: &Which,
    rounds: usize,
    rates: Option<&Rates>,
    progress: &mut dyn FnMut(f64),
) -> Result<Measured, Error> {
    let task = &case.task;
    let contenders = ground.contenders(task, which)?;
    if contenders.is_empty() {
        return Ok(Measured::default());
    }
    let turns = ground.turns(rounds);
    let mut clock = ground.clock(task, &contenders)?;
    let times = take_turns(&mut *clock, contenders.len(), &turns, progress)?;
    let rows: Vec<Row> = contenders
        .iter()
        .zip(times)
        .map(|(contender, times)| {
            let microseconds = times.iter().map(|time| time.as_nanos() as f64 / 1e3).collect();
            Row {
                chosen: contender.chosen,
                by_model: contender.by_model,
                predicted_us: contender.predicted_us,
                ..Row::new(case.subject.clone(), contender.name(), microseconds, task.flops(), task.bytes(), rates)
            }
        })
        .collect();
    right(&mut *clock, task, rows, !matches!(which, Which::All { .. }))
}

/// The rows, fastest first, without those whose results are wrong. To check one takes longer than to time it: unless
/// `all` are to be checked, what a plan takes is, and what would be the fastest.
fn right(clock: &mut dyn Clock, task: &Task, rows: Vec<Row>, all: bool) -> Result<Measured, Error> {
    let mut order: Vec<(usize, Row)> = rows.into_iter().enumerate().collect();
    order.sort_by(|(_, a), (_, b)| a.median_us.total_cmp(&b.median_us));
    let mut measured = Measured::default();
    for (candidate, row) in order {
        if all || row.chosen || row.by_model || measured.rows.is_empty() {
            match clock.check(candidate) {
                Ok(()) => {}
                Err(Wrong::Runtime(error)) => return Err(error),
                Err(fault) => {
                    let (label, name) = (task.label(), &row.variant);
                    measured.wrong.push(format!("{label}: {name} computes wrong results, report this: {fault}"));
                    continue;
                }
            }
        }
        measured.rows.push(row);
    }
    Ok(measured)
}

/// Bytes of the host's memory that a case takes: both operands, and an output that is made anew and then checked.
fn host_bytes(problem: &Problem) -> u64 {
    let [lhs, rhs, out] =
        problem.tensors().map(|tensor| (tensor.elements() as u64).saturating_mul(tensor.dtype.size_bytes().into()));
    lhs.saturating_add(rhs).saturating_add(out.saturating_mul(3))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ggemm_codegen::{Arch, KernelSpec};
    use ggemm_runtime::tune::{Bench, Machine};
    use ggemm_runtime::{Device, Discrepancy, Planner};

    use super::*;

    /// A clock whose candidates of these numbers are wrong.
    struct Wrongly {
        wrong: Vec<usize>,
        checked: Vec<usize>,
    }

    impl Clock for Wrongly {
        fn set_draw(&mut self, _: usize) {}

        fn block(&mut self, _: usize, _: usize) -> Result<Vec<Duration>, Error> {
            Ok(Vec::new())
        }

        fn verify(&mut self, candidate: usize) -> Result<(), Wrong> {
            self.checked.push(candidate);
            let found = Discrepancy { group: Some(1), row: 2, col: 3, found: 1.0, exact: 0.0, bound: 0.5 };
            if self.wrong.contains(&candidate) { Err(Wrong::Element(found)) } else { Ok(()) }
        }
    }

    #[test]
    fn what_is_wrong_is_told_of_and_no_row() {
        let task = Task::new("up forward", Problem::forward(2, 10, 8, 8), vec![5; 2]).unwrap();
        let subject = &crate::commands::bench::tests::record().rows[0].subject;
        let row = |(index, time): (usize, &f64)| Row {
            chosen: index == 3,
            ..Row::new(subject.clone(), format!("v{index}"), vec![*time], 1.0, 1.0, None)
        };
        let rows = || [40.0, 10.0, 20.0, 50.0, 30.0].iter().enumerate().map(row).collect::<Vec<Row>>();
        let checked = |wrong: &[usize], all| {
            let mut clock = Wrongly { wrong: wrong.to_vec(), checked: Vec::new() };
            let measured = right(&mut clock, &task, rows(), all).unwrap();
            let names: Vec<String> = measured.rows.into_iter().map(|row| row.variant).collect();
            (clock.checked, names.join(" "), measured.wrong)
        };
        let (order, names, _) = checked(&[], false);
        assert_eq!((order, names.as_str()), (vec![1, 3], "v1 v2 v4 v0 v3"));
        let (order, names, said) = checked(&[1, 2, 3], false);
        assert_eq!((order, names.as_str()), (vec![1, 2, 4, 3], "v4 v0"));
        assert!(said[0].starts_with("up forward: v1 computes wrong results, report this: group 1 [2, 3] is 1e0"));
        let (order, names, said) = checked(&[0], true);
        assert_eq!((order, names.as_str(), said.len()), (vec![1, 2, 4, 0, 3], "v1 v2 v4 v3", 1));
    }

    /// A GPU whose candidates take 1, 2, 3 … milliseconds, the worst predicted the least.
    struct Backwards(Machine);

    struct Paces(usize);

    impl Bench for Backwards {
        fn machine(&self) -> &Machine {
            &self.0
        }

        fn clock(&mut self, task: &Task, candidates: &[KernelSpec]) -> Result<Box<dyn Clock + '_>, Error> {
            match task.problem().m {
                4096 => Ok(Box::new(Paces(candidates.len()))),
                bytes => Err(Error::OutOfMemory { device: "made up".into(), bytes }),
            }
        }
    }

    impl Clock for Paces {
        fn set_draw(&mut self, _: usize) {}

        fn block(&mut self, candidate: usize, launches: usize) -> Result<Vec<Duration>, Error> {
            Ok(vec![Duration::from_millis((self.0 - candidate) as u64); launches])
        }

        fn verify(&mut self, _: usize) -> Result<(), Wrong> {
            Ok(())
        }
    }

    fn on_a_gpu(rows: usize, which: &Which) -> Measured {
        let machine = Machine {
            gpu: "made up".into(),
            compute_capability: "9.0".into(),
            driver: "1".into(),
            ggemm: "0".into(),
            kernels: String::new(),
        };
        let planner = Box::new(Planner::new(Device::cpu()));
        let mut ground = Ground::Gpu { planner, arch: Arch::Sm90a, bench: Box::new(Backwards(machine)) };
        let task = Task::new("up forward", Problem::forward(8, rows, 1536, 2048), vec![rows / 8; 8]).unwrap();
        let subject = crate::commands::bench::tests::record().rows[0].subject.clone();
        measure(&mut ground, &Case { task, subject }, which, 3, None, &mut |_| ()).unwrap()
    }

    #[test]
    fn all_variants_stand_by_their_times_and_say_which_is_taken() {
        let measured = on_a_gpu(4096, &Which::All { within: f64::INFINITY });
        let times: Vec<f64> = measured.rows.iter().map(|row| row.median_us).collect();
        assert!(times.len() > 5 && times.iter().enumerate().all(|(rank, time)| *time == 1e3 * (rank + 1) as f64));
        // The best predicted is the slowest.
        let taken: Vec<usize> = (0..times.len()).filter(|rank| measured.rows[*rank].chosen).collect();
        assert_eq!(taken, [times.len() - 1]);
        assert!(measured.rows[taken[0]].by_model && measured.rows.iter().all(|row| row.predicted_us.is_some()));
        let alone = on_a_gpu(4096, &Which::Chosen);
        assert_eq!((alone.rows.len(), &alone.rows[0].variant), (1, &measured.rows[taken[0]].variant));
    }

    #[test]
    fn what_cannot_be_timed_is_left_out_with_the_reason() {
        let why = |rows, which: &Which| on_a_gpu(rows, which).left_out.unwrap();
        assert_eq!(
            why(8, &Which::Chosen),
            "up forward: made up has no 8 bytes of memory left for a buffer: free some or ask for less"
        );
        let named = Which::Named(vec!["ggemm_reduction_*".into()]);
        assert_eq!(why(4096, &named), "up forward: no variant of that name computes it");
    }

    #[test]
    fn a_case_past_the_memory_is_left_out_before_it_is_made() {
        let subject = crate::commands::bench::tests::record().rows[0].subject.clone();
        let task = Task::new("huge", Problem::forward(1, 1 << 24, 1 << 24, 1 << 24), vec![1 << 24]).unwrap();
        let case = Case { task, subject };
        let measured = measure(&mut Ground::Cpu, &case, &Which::Chosen, 1, None, &mut |_| ()).unwrap();
        let why = measured.left_out.unwrap();
        assert!(measured.rows.is_empty() && why.starts_with("huge: its tensors take "), "{why}");
    }
}
