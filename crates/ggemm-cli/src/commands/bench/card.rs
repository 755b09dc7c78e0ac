//! The card's state, as its driver's tool tells it.

use std::process::Command;

/// Clocks, power and temperature now; `None` where there is no `nvidia-smi`.
pub(super) fn state(gpu: usize) -> Option<String> {
    let query = "--query-gpu=clocks.sm,clocks.mem,clocks.max.sm,power.draw,power.limit,temperature.gpu";
    let gpu = format!("--id={gpu}");
    let output = Command::new("nvidia-smi").args([query, "--format=csv,noheader", &gpu]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    output.status.success().then(|| format!("SM, memory and highest SM clock, power, its limit, temperature: {line}"))
}
