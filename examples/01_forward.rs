//! One expert projection, forward: three experts, five tokens sorted by expert. On a GPU where there is one, else on the
//! CPU.
//!
//! `cargo run --example 01_forward`

use ggemm::{Args, Buffer, Device, ElementType, Planner, Problem, bf16};

fn main() -> Result<(), ggemm::Error> {
    let device = Device::best();
    let (groups, m, n, k) = (3, 5, 2, 4);
    // A plan is made once for a shape and reused; the sizes of the groups are not part of it.
    let plan = Planner::new(device.clone()).plan(&Problem::forward(groups, m, n, k))?;
    println!("{} on {}", plan.problem(), plan.variant());

    let x: Vec<bf16> = (0..m * k).map(|i| bf16::from_f32(i as f32)).collect();
    let w: Vec<bf16> = (0..groups * n * k).map(|i| bf16::from_f32((i % 3) as f32 - 1.0)).collect();
    let x = Buffer::from_slice(&device, &x)?;
    let w = Buffer::from_slice(&device, &w)?;
    let sizes = Buffer::from_slice(&device, &[2_i32, 0, 3])?; // any group may be empty; only the device reads them
    let mut y = Buffer::zeros(&device, ElementType::Bf16, m * n)?;
    plan.run(Args::forward(&x, &w, &sizes, &mut y))?; // a GPU is asked and not waited for
    for row in y.to_vec::<bf16>()?.chunks(n) {
        println!("{row:?}");
    }
    Ok(())
}
