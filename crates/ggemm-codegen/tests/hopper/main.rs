//! Hopper's statements at work: small kernels compute what they should under every schedule, and each fault that is
//! planted into them is found and named.

mod findings;
mod ground;
mod hardware;
mod kernels;
mod mutants;
mod text;

use ggemm_codegen::interp::run;
use ground::{Wrong, copy_memory, schedules, subjects};

#[test]
fn kernels_compute_ragged_problems_bit_for_bit_under_every_schedule() {
    for subject in subjects() {
        for case in &subject.cases {
            for settings in schedules(4, subject.ctas) {
                match subject.run(&subject.kernel, case, settings) {
                    Ok(_) => {}
                    Err(Wrong::Finding(finding)) => panic!("{} on {case}\n{finding}", subject.name),
                    Err(Wrong::Value(wrong)) => panic!("{}: {wrong}", subject.name),
                }
            }
        }
    }
}

#[test]
fn a_counter_of_all_ctas_hands_out_each_tile_once() {
    let kernel = kernels::dynamic_copy();
    for rows in [1, 8, 9, 100] {
        for settings in schedules(4, 3) {
            let (problem, mut memory) = copy_memory(rows);
            if let Err(finding) = run(&kernel, &problem, &mut memory, settings) {
                panic!("{rows} rows\n{finding}");
            }
            for i in 0..memory.d.len() {
                assert!(
                    memory.d.was_written(i) && memory.d.get(i) == (i % 200) as f32,
                    "{i} of {rows} rows, {settings}"
                );
            }
        }
    }
}

/// A tile as large as those that will ship takes no longer than a person waits.
#[test]
fn a_large_tile_runs_in_a_moment() {
    let subject = ground::large();
    let start = std::time::Instant::now();
    for case in &subject.cases {
        if let Err(wrong) = subject.run(&subject.kernel, case, schedules(1, 2).nth(2).expect("a schedule")) {
            panic!("{wrong:?}");
        }
    }
    let elapsed = start.elapsed();
    println!("{elapsed:?}");
    assert!(elapsed.as_secs() < 5, "{elapsed:?}");
}
