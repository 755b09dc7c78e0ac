//! A whole layer: forward, then both gradients, with weights as `[G, K, N]`, sizes given as ends, and a weight gradient
//! that accumulates in f32 over two micro-batches.
//!
//! `cargo run --example 02_training_step`

use ggemm::{Args, Device, Dtype, GroupForm, IndexType, Operation, Planner, Problem, WeightLayout, bf16};

fn main() -> Result<(), ggemm::Error> {
    let (groups, m, n, k) = (4, 64, 32, 48);
    let planner = Planner::new(Device::cpu());
    let problem =
        Problem::forward(groups, m, n, k).weight_layout(WeightLayout::Kn).group_array(GroupForm::Ends, IndexType::I64);
    let forward = planner.plan(&problem)?;
    let grad_x = planner.plan(&problem.clone().with_operation(Operation::GradX))?;
    let grad_w = planner.plan(&problem.with_operation(Operation::GradW).output(Dtype::F32).accumulate(true))?;

    let values = |len: usize, step: usize| -> Vec<bf16> {
        (0..len).map(|i| bf16::from_f32(((i * step) % 17) as f32 / 8.0 - 1.0)).collect()
    };
    let (x, w) = (values(m * k, 5), values(groups * k * n, 7));
    let ends = [10_i64, 10, 40, 64]; // the second expert got no token
    let mut dw = vec![0.0_f32; groups * k * n];
    for batch in 0..2 {
        let mut y = vec![bf16::ZERO; m * n];
        forward.run(Args::forward(&x, &w, &ends, &mut y))?;
        let dy = y; // the gradient of ½‖y‖²
        let mut dx = vec![bf16::ZERO; m * k];
        grad_x.run(Args::grad_x(&dy, &w, &ends, &mut dx))?;
        grad_w.run(Args::grad_w(&dy, &x, &ends, &mut dw))?;
        let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|e| e * e).sum::<f32>().sqrt();
        let (of_dx, of_dw) = (norm(&mut dx.iter().map(|e| e.to_f32())), norm(&mut dw.iter().copied()));
        println!("micro-batch {batch}: |dx| = {of_dx:.3}, accumulated |dw| = {of_dw:.3}");
    }
    Ok(())
}
