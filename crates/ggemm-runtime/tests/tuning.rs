//! Tuning on a machine that is simulated, and the choices that follow from it.

// Helpers of tests may panic as tests do; clippy exempts only the tests themselves.
#![allow(clippy::unwrap_used)]

mod simulated;

use std::collections::BTreeSet;

use ggemm_runtime::tune::{
    Entry, Event, Machine, Routing, Settings, Store, Summary, Table, TableLocation, Task, Tuner, Turns, on_gpu,
    worth_timing,
};
use ggemm_runtime::{Arch, Candidate, CopyPath, Device, KernelSpec, Operation, Planner, Problem, Selection};
use simulated::{Simulation, machine};

fn store() -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let store = Store::at(TableLocation::At(root.path().join("tuned.jsonl"))).unwrap();
    (root, store)
}

fn settings() -> Settings {
    Settings { turns: Turns { rounds: 3, ..Turns::default() }, ..Settings::default() }
}

fn planner() -> Planner {
    Planner::new(Device::cpu())
}

/// Sizes as a router spreads them.
fn skewed(groups: usize, m: usize) -> Vec<usize> {
    let mut sizes = vec![m / (2 * groups); groups];
    sizes[0] += m - sizes.iter().sum::<usize>();
    sizes
}

fn task(operation: Operation, groups: usize, m: usize) -> Task {
    let problem = Problem::new(operation, groups, m, 1536, 2048);
    Task::new(format!("{operation} {groups} {m}"), problem, skewed(groups, m)).unwrap()
}

fn tasks() -> Vec<Task> {
    Operation::ALL.into_iter().flat_map(|op| [task(op, 8, 4096), task(op, 64, 65536)]).collect()
}

/// The candidates of a task, fastest in the simulation first.
fn fastest(simulation: &Simulation, task: &Task) -> Vec<KernelSpec> {
    let explanation = planner().explain(task.problem(), Arch::Sm90a).unwrap();
    let mut specs: Vec<KernelSpec> = worth_timing(explanation.candidates(), settings().within)
        .iter()
        .map(|candidate| *candidate.variant.spec())
        .collect();
    specs.sort_by_key(|spec| simulation.speed(task, spec));
    specs
}

fn run(simulation: &mut Simulation, store: &Store, settings: Settings, tasks: &[Task]) -> Summary {
    Tuner::new(&planner(), store, settings).run(simulation, tasks, &mut |_| ()).unwrap()
}

fn tuned(store: &Store, tasks: &[Task]) -> Simulation {
    let mut simulation = Simulation::new();
    let summary = run(&mut simulation, store, settings(), tasks);
    assert_eq!(summary, Summary { tuned: tasks.len(), ..Summary::default() });
    simulation
}

fn on_machine(table: Table) -> Planner {
    planner().table(table).assume(machine())
}

fn chosen(selection: &Selection) -> KernelSpec {
    *selection.preferred().variant.spec()
}

#[test]
fn the_fastest_is_kept_with_the_others_in_order() {
    let (_root, store) = store();
    let tasks = tasks();
    let simulation = tuned(&store, &tasks);
    let table = store.read().unwrap();
    assert_eq!((table.len(), table.damaged()), (tasks.len(), 0));
    for task in &tasks {
        let entry = table.get(&machine(), &task.key()).unwrap();
        let order: Vec<KernelSpec> = entry.timings().map(|timing| timing.variant).collect();
        assert_eq!(order, fastest(&simulation, task), "{task}");
        assert!(order.len() > 1, "{task}");
        let expected = simulation.speed(task, &order[0]).as_secs_f64() * 1e6;
        assert!((entry.best.microseconds - expected).abs() < 1e-3, "{task}");
    }
}

/// What is fastest on the first draw alone is not kept where others are faster on all.
#[test]
fn of_several_draws_the_mean_counts() {
    let (_root, store) = store();
    let once = tasks();
    let draws = |task: &Task| {
        let mut others = vec![task.sizes().to_vec(); 2];
        others[0].rotate_left(1);
        others[1].rotate_left(2);
        task.clone().and_draws(others).unwrap()
    };
    let thrice: Vec<Task> = once.iter().map(draws).collect();
    let simulation = tuned(&store, &thrice);
    let table = store.read().unwrap();
    for task in &thrice {
        let entry = table.get(&machine(), &task.key()).unwrap();
        let order: Vec<KernelSpec> = entry.timings().map(|timing| timing.variant).collect();
        assert_eq!(order, fastest(&simulation, task), "{task}");
        let expected = simulation.speed(task, &order[0]).as_secs_f64() * 1e6;
        assert!((entry.best.microseconds - expected).abs() < 2e-3, "{task}");
    }
    let differ =
        once.iter().zip(&thrice).any(|(one, all)| fastest(&simulation, one)[0] != fastest(&simulation, all)[0]);
    assert!(differ, "the first draw alone decides nowhere");
}

#[test]
fn a_planner_chooses_what_was_tuned_and_says_so() {
    let (_root, store) = store();
    let tasks = tasks();
    let simulation = tuned(&store, &tasks);
    let planner = on_machine(store.read().unwrap());
    for task in &tasks {
        let selection = planner.select(task.problem(), Arch::Sm90a).unwrap();
        assert_eq!(chosen(&selection), fastest(&simulation, task)[0], "{task}");
        assert!(selection.tuning().is_some(), "{task}");
        let text = planner.explain(task.problem(), Arch::Sm90a).unwrap().to_string();
        let line = text.lines().find(|line| line.starts_with("chosen: ")).unwrap();
        assert!(line.contains(" (tuned, ") && line.contains(" predicted "), "{line}");
        // Asked again, it is what was chosen before.
        assert_eq!(chosen(&planner.select(task.problem(), Arch::Sm90a).unwrap()), chosen(&selection));
    }
}

#[test]
fn what_the_model_alone_would_take_is_told_beside() {
    let (_root, store) = store();
    let tasks = tasks();
    tuned(&store, &tasks);
    let planner = on_machine(store.read().unwrap());
    for task in &tasks {
        let alone = self::planner().select(task.problem(), Arch::Sm90a).unwrap().preferred();
        let explanation = planner.explain(task.problem(), Arch::Sm90a).unwrap();
        let by_model = explanation.by_model().unwrap();
        assert_eq!((by_model.variant.name(), by_model.correction), (alone.variant.name(), 1.0), "{task}");
        // One table counts, and no other.
        let only = planner.clone().only_table(Table::default()).select(task.problem(), Arch::Sm90a).unwrap();
        assert_eq!((only.tuning(), only.calibrated()), (None, None), "{task}");
        let only = on_machine(Table::default()).only_table(store.read().unwrap());
        assert!(only.select(task.problem(), Arch::Sm90a).unwrap().tuning().is_some(), "{task}");
    }
}

#[test]
fn another_machine_or_architecture_knows_nothing_of_it() {
    let (_root, store) = store();
    let tasks = tasks();
    tuned(&store, &tasks);
    let table = store.read().unwrap();
    let own = machine();
    let others = [
        Machine { gpu: "another".into(), ..own.clone() },
        Machine { driver: "2.0".into(), ..own.clone() },
        Machine { kernels: "fedcba9876543210".into(), ..own.clone() },
        Machine { ggemm: "0.0.1".into(), ..own.clone() },
        Machine { compute_capability: "8.0".into(), ..own },
    ];
    for task in &tasks {
        let predicted = planner().select(task.problem(), Arch::Sm90a).unwrap();
        for other in &others {
            let planner = planner().table(table.clone()).assume(other.clone());
            let selection = planner.select(task.problem(), Arch::Sm90a).unwrap();
            assert_eq!((chosen(&selection), selection.tuning()), (chosen(&predicted), None), "{other}");
        }
        // The machine has one architecture.
        let selection = on_machine(table.clone()).select(task.problem(), Arch::Sm80).unwrap();
        assert_eq!(selection.tuning(), None);
        // The CPU is no machine at all.
        let selection = planner().table(table.clone()).select(task.problem(), Arch::Sm90a).unwrap();
        assert_eq!(selection.tuning(), None);
    }
}

/// Tasks near a tuned one: what was measured there corrects what is predicted here, less and less with the distance.
#[test]
fn what_was_measured_nearby_corrects_predictions() {
    let (_root, store) = store();
    let measured = task(Operation::Forward, 8, 4096);
    tuned(&store, std::slice::from_ref(&measured));
    let tuned_planner = on_machine(store.read().unwrap());
    let explain = |groups, m| tuned_planner.explain(&Problem::forward(groups, m, 1536, 2048), Arch::Sm90a).unwrap();
    let entry = store.read().unwrap().get(&machine(), &measured.key()).unwrap().clone();
    let untuned = planner().explain(measured.problem(), Arch::Sm90a).unwrap();
    let predicted =
        |spec: &KernelSpec| untuned.candidates().iter().find(|c| c.variant.spec() == spec).unwrap().prediction.seconds;
    let mut last = f64::INFINITY;
    for (groups, m, distance) in [(8, 6000, 0.5), (8, 8192, 1.0), (16, 32768, 2.5)] {
        let explanation = explain(groups, m);
        let calibrated = explanation.selection().calibrated().unwrap();
        assert_eq!(calibrated.entries, 1);
        assert!((calibrated.nearest.total() - distance).abs() < 0.06, "{:?}", calibrated.nearest);
        assert_eq!(explanation.selection().tuning(), None);
        let mut strongest: f64 = 0.0;
        for candidate in explanation.candidates() {
            let Some(timing) = entry.timings().find(|timing| timing.variant == *candidate.variant.spec()) else {
                continue;
            };
            // Towards what was measured, and never beyond.
            let (error, correction) =
                ((timing.microseconds * 1e-6 / predicted(&timing.variant)).ln(), candidate.correction.ln());
            assert!(error * correction >= 0.0 && correction.abs() < error.abs(), "{correction} for {error}");
            strongest = strongest.max((correction / error).abs());
        }
        assert!(0.0 < strongest && strongest < last, "{strongest} at {distance}");
        last = strongest;
        let fast = explanation
            .candidates()
            .iter()
            .filter(|c| c.variant.spec().copy != CopyPath::Plain && !c.variant.spec().d_by_threads);
        assert!(fast.map(Candidate::seconds).is_sorted(), "the order is that of the corrected times");
        assert!(explanation.to_string().contains(" corrected by 1 measured problem, the nearest "));
    }
    // Far away the model stands alone.
    let far = explain(8, 1 << 20);
    assert_eq!(far.selection().calibrated(), None);
    assert!(far.candidates().iter().all(|c| c.correction == 1.0));
}

/// A caller that knows how rows are spread finds what was measured so.
#[test]
fn rows_that_are_spread_otherwise_are_another_entry() {
    let (_root, store) = store();
    let skewed = task(Operation::Forward, 8, 4096);
    let even = Task::new("even", skewed.problem().clone(), vec![512; 8]).unwrap();
    let simulation = tuned(&store, &[skewed.clone(), even.clone()]);
    let table = store.read().unwrap();
    for (routing, task) in [(Routing::Even, &even), (Routing::Skewed, &skewed)] {
        let selection = on_machine(table.clone()).routing(routing).select(task.problem(), Arch::Sm90a).unwrap();
        assert_eq!(chosen(&selection), fastest(&simulation, task)[0], "{routing}");
        assert_eq!(selection.tuning().unwrap().routing, routing);
    }
}

#[test]
fn a_batch_invariant_choice_knows_nothing_of_m_and_g() {
    let (_root, store) = store();
    let tasks = [task(Operation::Forward, 8, 4096), task(Operation::Forward, 64, 65536)];
    tuned(&store, &tasks);
    let planner = on_machine(store.read().unwrap()).batch_invariant(true);
    let select = |groups, m| planner.select(&Problem::forward(groups, m, 1536, 2048), Arch::Sm90a).unwrap();
    let first = select(1, 1);
    assert!(first.calibrated().is_some());
    for (groups, m) in [(1, 1 << 20), (4096, 5), (8, 4096), (64, 65536), (64, 8192)] {
        assert_eq!(chosen(&select(groups, m)), chosen(&first), "G={groups} M={m}");
    }
}

#[test]
fn an_entry_whose_winner_cannot_compute_gives_its_next() {
    let (_root, store) = store();
    let task = task(Operation::Forward, 8, 4096);
    tuned(&store, std::slice::from_ref(&task));
    let table = store.read().unwrap();
    let entry = table.get(&machine(), &task.key()).unwrap().clone();
    // A variant that nobody baked, as another version's may be.
    let mut missing = entry.best;
    missing.variant.stages = 3;
    let others: Vec<_> = entry.timings().copied().collect();
    let second = others[0].variant;
    let mut table = Table::default();
    table.insert(Entry { best: missing, others, ..entry });
    let selection = on_machine(table).select(task.problem(), Arch::Sm90a).unwrap();
    assert_eq!(chosen(&selection), second);
}

#[test]
fn a_pin_comes_before_any_table() {
    let (_root, store) = store();
    let task = task(Operation::Forward, 8, 4096);
    let simulation = tuned(&store, std::slice::from_ref(&task));
    let slowest = *fastest(&simulation, &task).last().unwrap();
    let planner = on_machine(store.read().unwrap());
    assert_ne!(chosen(&planner.select(task.problem(), Arch::Sm90a).unwrap()), slowest);
    let selection = planner.pin(slowest).select(task.problem(), Arch::Sm90a).unwrap();
    assert_eq!((chosen(&selection), selection.tuning()), (slowest, None));
}

#[test]
fn what_is_done_is_not_done_again_unless_asked() {
    let (_root, store) = store();
    let tasks = tasks();
    tuned(&store, &tasks[..2]);
    let mut simulation = Simulation::new();
    let summary = run(&mut simulation, &store, settings(), &tasks);
    assert_eq!(summary, Summary { tuned: 4, known: 2, ..Summary::default() });
    let launches = simulation.launches;
    let summary = run(&mut simulation, &store, settings(), &tasks);
    assert_eq!((summary.known, simulation.launches), (6, launches));
    simulation.generation = 5;
    let summary = run(&mut simulation, &store, Settings { again: true, ..settings() }, &tasks);
    assert_eq!((summary.tuned, summary.known), (6, 0));
    for task in &tasks {
        let best = store.read().unwrap().get(&machine(), &task.key()).unwrap().best;
        assert_eq!((best.microseconds * 1e3).round() as u64 % 1000, 5, "{task}");
    }
}

#[test]
fn a_variant_that_computes_wrong_results_never_wins() {
    let (_root, store) = store();
    let task = task(Operation::Forward, 8, 4096);
    let mut simulation = Simulation::new();
    let order = fastest(&simulation, &task);
    simulation.wrong.extend(&order[..2]);
    let mut told = Vec::new();
    let mut observe = |event: &Event<'_>| {
        if let Event::Wrong { variant, .. } = event {
            told.push(*variant);
        }
    };
    let tuner_planner = planner();
    let tuner = Tuner::new(&tuner_planner, &store, settings());
    let summary = tuner.run(&mut simulation, std::slice::from_ref(&task), &mut observe).unwrap();
    assert_eq!(summary, Summary { tuned: 1, wrong: 2, ..Summary::default() });
    assert_eq!(told, order[..2]);
    let table = store.read().unwrap();
    let kept: Vec<KernelSpec> =
        table.get(&machine(), &task.key()).unwrap().timings().map(|timing| timing.variant).collect();
    assert_eq!(kept, order[2..]);

    simulation.wrong.extend(&order);
    let summary = run(&mut simulation, &store, Settings { again: true, ..settings() }, std::slice::from_ref(&task));
    assert_eq!((summary.tuned, summary.unsolved, summary.wrong), (0, 1, order.len()));
}

#[test]
fn a_task_that_does_not_fit_the_memory_keeps_none_from_its_turn() {
    let (_root, store) = store();
    let mut simulation = Simulation::new();
    simulation.most_rows = 10_000;
    let summary = run(&mut simulation, &store, settings(), &tasks());
    assert_eq!(summary, Summary { tuned: 3, unsolved: 3, ..Summary::default() });
    assert_eq!(store.read().unwrap().len(), 3);
}

/// The table that other tests bake and include, of entries of this version. Where it is none, write it anew with
/// `INSTA_UPDATE=always`.
#[test]
fn the_made_up_table_is_of_this_version() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tables/made-up.jsonl");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        let (_root, store) = store();
        tuned(&store, &tasks());
        std::fs::copy(store.path(), path).unwrap();
    }
    let table = Table::whole(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!((table.len(), table.foreign()), (tasks().len(), 0), "write it anew with INSTA_UPDATE=always");
}

ggemm_runtime::kernels! {
    /// What the made-up table names.
    mod baked {
        table: "tests/tables/made-up.jsonl",
        arch: [sm_90a],
    }
}

#[test]
fn a_set_that_was_baked_for_a_table_chooses_by_it() {
    let entries = Table::whole(baked::KERNELS.table).unwrap();
    assert_eq!(entries.len(), tasks().len());
    let winners: BTreeSet<KernelSpec> = entries.entries(&machine()).map(|entry| entry.best.variant).collect();
    let names: BTreeSet<KernelSpec> = baked::KERNELS.iter().map(|kernel| kernel.spec().unwrap()).collect();
    assert_eq!(names, winners, "exactly the tuned variants");
    let planner = planner().with(&baked::KERNELS).assume(machine());
    for entry in entries.entries(&machine()) {
        let selection = planner.select(&entry.problem, Arch::Sm90a).unwrap();
        assert_eq!(chosen(&selection), entry.best.variant);
        assert_eq!((selection.preferred().variant.set(), selection.tuning().is_some()), ("baked", true));
    }
}

#[test]
fn a_machine_without_a_gpu_says_what_it_needs() {
    let error = on_gpu(&planner()).err().unwrap().to_string();
    assert!(error.starts_with("tuning needs a GPU, and the planner's device is cpu"), "{error}");
}
