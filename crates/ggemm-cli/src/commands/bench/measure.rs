//! Times the variants of one case.

use ggemm_codegen::Problem;
use ggemm_report::{Rates, Row};
use ggemm_runtime::Error;
use ggemm_runtime::tune::{Task, Wrong, take_turns};

use super::cases::Case;
use super::ground::{Contender, Ground, Which};
use crate::memory;
use crate::numbers::bytes;

/// What came of a case.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// The fastest first.
    pub(super) rows: Vec<Row>,
    /// Variants whose results are wrong, and how; they are not timed.
    pub(super) wrong: Vec<String>,
    /// Why nothing was timed.
    pub(super) left_out: Option<String>,
}

/// Times a case. What does not fit the memory is left out.
pub(super) fn measure(
    ground: &mut Ground,
    case: &Case,
    which: &Which,
    rounds: usize,
    rates: Option<&Rates>,
    progress: &mut dyn FnMut(f64),
) -> Result<Measured, Error> {
    let task = &case.task;
    let left_out = |why: String| Measured { left_out: Some(format!("{}: {why}", task.label())), ..Measured::default() };
    let mut contenders = ground.contenders(task, which)?;
    let needed = host_bytes(task.problem());
    if let Some(available) = memory::available().filter(|available| needed > *available) {
        let (needed, available) = (bytes(needed), bytes(available));
        return Ok(left_out(format!("its tensors take {needed} of the host's memory, and {available} are free")));
    }
    let mut wrong = Vec::new();
    let turns = ground.turns(rounds);
    let times = loop {
        if contenders.is_empty() {
            let why =
                if wrong.is_empty() { "no variant of that name computes it" } else { "no variant computes it right" };
            return Ok(Measured { wrong, ..left_out(why.to_owned()) });
        }
        let mut clock = match ground.clock(task, &contenders) {
            Err(error @ Error::OutOfMemory { .. }) => return Ok(left_out(error.to_string())),
            clock => clock?,
        };
        let faults: Vec<Option<Wrong>> = (0..contenders.len()).map(|contender| clock.check(contender).err()).collect();
        if faults.iter().all(Option::is_none) {
            break take_turns(&mut *clock, contenders.len(), &turns, progress)?;
        }
        drop(clock);
        wrong.extend(remove(&mut contenders, task, faults)?);
    };
    let mut rows: Vec<Row> = contenders
        .iter()
        .zip(times)
        .map(|(contender, times)| {
            let microseconds = times.iter().map(|time| time.as_nanos() as f64 / 1e3).collect();
            Row {
                chosen: contender.chosen,
                by_model: contender.by_model,
                predicted_us: contender.predicted_us,
                ..Row::new(case.problem.clone(), contender.name(), microseconds, task.flops(), task.bytes(), rates)
            }
        })
        .collect();
    rows.sort_by(|a, b| a.median_us.total_cmp(&b.median_us));
    Ok(Measured { rows, wrong, left_out: None })
}

/// Removes those that are wrong, and says what is wrong with them.
fn remove(contenders: &mut Vec<Contender>, task: &Task, faults: Vec<Option<Wrong>>) -> Result<Vec<String>, Error> {
    let mut said = Vec::new();
    let mut right = Vec::new();
    for (contender, fault) in contenders.drain(..).zip(faults) {
        match fault {
            None => right.push(contender),
            Some(Wrong::Runtime(error)) => return Err(error),
            Some(fault) => {
                let name = contender.name();
                said.push(format!("{}: {name} computes wrong results, report this: {fault}", task.label()));
            }
        }
    }
    *contenders = right;
    Ok(said)
}

/// Bytes of the host's memory that a case takes: both operands, and an output that is made anew and then checked.
fn host_bytes(problem: &Problem) -> u64 {
    let [lhs, rhs, out] =
        problem.tensors().map(|tensor| (tensor.elements() as u64).saturating_mul(tensor.dtype.size_bytes().into()));
    lhs.saturating_add(rhs).saturating_add(out.saturating_mul(3))
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::KernelSpec;
    use ggemm_runtime::Discrepancy;

    use super::*;

    #[test]
    fn what_is_wrong_is_told_of_and_timed_no_more() {
        let task = Task::new("up forward", Problem::forward(2, 10, 8, 8), vec![5; 2]).unwrap();
        let spec: KernelSpec = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x192x64_w4x1_s5_pingpong_tma".parse().unwrap();
        let contender = |spec| Contender { spec, chosen: true, by_model: true, predicted_us: None };
        let found = Discrepancy { group: Some(1), row: 2, col: 3, found: 1.0, exact: 0.0, bound: 0.5 };
        let mut contenders = vec![contender(Some(spec)), contender(None)];
        let said = remove(&mut contenders, &task, vec![Some(Wrong::Element(found)), None]).unwrap();
        assert_eq!((said.len(), contenders.len(), contenders[0].spec), (1, 1, None));
        let expected = format!("up forward: {spec} computes wrong results, report this: group 1 [2, 3] is 1e0");
        assert!(said[0].starts_with(&expected), "{said:?}");
        let broken = Some(Wrong::Runtime(Error::OutOfMemory { device: "made up".into(), bytes: 7 }));
        assert!(remove(&mut contenders, &task, vec![broken]).is_err());
    }

    #[test]
    fn a_case_past_the_memory_is_left_out_before_it_is_made() {
        let mut problem = crate::commands::bench::tests::record().rows[0].problem.clone();
        (problem.m, problem.n, problem.k) = (1 << 24, 1 << 24, 1 << 24);
        let task = Task::new("huge", Problem::forward(1, 1 << 24, 1 << 24, 1 << 24), vec![1 << 24]).unwrap();
        let case = Case { task, problem };
        let measured = measure(&mut Ground::Cpu, &case, &Which::Chosen, 1, None, &mut |_| ()).unwrap();
        let why = measured.left_out.unwrap();
        assert!(measured.rows.is_empty() && why.starts_with("huge: its tensors take "), "{why}");
    }
}
