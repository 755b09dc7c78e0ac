//! What is printed, and kept as JSON.

use std::fmt;
use std::time::Duration;

use ggemm::tune::{Task, median};
use ggemm::{Device, KernelSpec, Operation};
use serde::Serialize;

use crate::case::bytes_moved;
use crate::host::HostTimes;
use crate::machine;
use crate::quantize::QuantizeRow;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: u32,
    device: String,
    driver: Option<String>,
    /// Of the program that ran.
    ggemm: &'static str,
    commit: Option<&'static str>,
    card_before: Option<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) quantize: Vec<QuantizeRow>,
    pub(crate) host: Option<HostTimes>,
}

impl Report {
    pub(crate) fn new(device: &Device) -> Self {
        Report {
            schema: 1,
            device: device.name().to_owned(),
            driver: device.driver().map(str::to_owned),
            ggemm: env!("CARGO_PKG_VERSION"),
            commit: option_env!("GGEMM_COMMIT"),
            card_before: machine::state(),
            rows: Vec::new(),
            quantize: Vec::new(),
            host: None,
        }
    }

    pub(crate) fn head(&self) -> String {
        let or_unknown = |text: Option<&str>| text.unwrap_or("unknown").to_owned();
        format!(
            "{}, driver {}, ggemm {} of commit {}\n{}",
            self.device,
            or_unknown(self.driver.as_deref()),
            self.ggemm,
            or_unknown(self.commit),
            or_unknown(self.card_before.as_deref()),
        )
    }

    pub(crate) fn foot(&self) -> String {
        match &self.host {
            Some(HostTimes { launch_us, in_graph_us, plan_us }) => format!(
                "seed-small forward: {launch_us:.2} us of the host a launch, {in_graph_us:.2} us of the GPU a launch in a \
                 graph, {plan_us:.0} us of the host to plan"
            ),
            None => String::new(),
        }
    }
}

/// One variant on one operation of one case.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    case: String,
    operation: Operation,
    groups: usize,
    m: usize,
    n: usize,
    k: usize,
    dtype: &'static str,
    variant: String,
    /// 0: what a plan chooses.
    rank: usize,
    predicted_us: f64,
    median_us: f64,
    least_us: f64,
    most_us: f64,
    /// Useful operations over the median.
    tflops: f64,
    /// Bytes that have to be moved over the median.
    gbytes_per_s: f64,
}

impl Row {
    pub(crate) const HEADER: &str =
        "case               operation  rank  median us     TFLOP/s  GB/s   predicted us  variant";

    pub(crate) fn new(task: &Task, spec: &KernelSpec, rank: usize, predicted_us: f64, times: &[Duration]) -> Self {
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let (middle, problem) = (median(times), task.problem());
        Row {
            case: task.label().to_owned(),
            operation: problem.operation,
            groups: problem.groups,
            m: problem.m,
            n: problem.n,
            k: problem.k,
            dtype: "bf16",
            variant: spec.to_string(),
            rank,
            predicted_us,
            median_us: us(middle),
            least_us: times.first().copied().map_or(0.0, us),
            most_us: times.last().copied().map_or(0.0, us),
            tflops: problem.flops() / middle.as_secs_f64() / 1e12,
            gbytes_per_s: bytes_moved(task) / middle.as_secs_f64() / 1e9,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { case, operation, rank, median_us, tflops, gbytes_per_s, predicted_us, variant, .. } = self;
        write!(
            f,
            "{case:<18} {operation:<9} {rank:>5} {median_us:>10.1} {tflops:>11.1} {gbytes_per_s:>5.0} \
             {predicted_us:>14.1}  {variant}"
        )
    }
}
