//! One expert projection, forward: three experts, five tokens sorted by expert.
//!
//! `cargo run --example 01_forward`

use ggemm::{Args, Device, Planner, Problem, bf16};

fn main() -> Result<(), ggemm::Error> {
    let (groups, m, n, k) = (3, 5, 2, 4);
    // A plan is made once for a shape and reused; the sizes of the groups are not part of it.
    let plan = Planner::new(Device::cpu()).plan(&Problem::forward(groups, m, n, k))?;
    println!("{} on {}", plan.problem(), plan.variant());

    let x: Vec<bf16> = (0..m * k).map(|i| bf16::from_f32(i as f32)).collect();
    let w: Vec<bf16> = (0..groups * n * k).map(|i| bf16::from_f32((i % 3) as f32 - 1.0)).collect();
    let sizes = [2_i32, 0, 3]; // any group may be empty
    let mut y = vec![bf16::ZERO; m * n];
    plan.run(Args::forward(&x, &w, &sizes, &mut y))?;
    for row in y.chunks(n) {
        println!("{row:?}");
    }
    Ok(())
}
