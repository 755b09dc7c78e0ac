//! What is timed: one operation of a layer, at one point of a sweep.

use ggemm_report::{Axis, Point, Subject};
use ggemm_runtime::tune::{Layer, Task};

use super::args::{AxisArg, BenchArgs, defaults};
use super::error::BenchError;
use crate::error::CliError;
use crate::workload::{Workload, WorkloadError};

/// One operation of a layer.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) task: Task,
    /// What the record calls it.
    pub(super) subject: Subject,
}

impl BenchArgs {
    /// Every case, in the order of the layers.
    pub(super) fn cases(&self) -> Result<Vec<Case>, CliError> {
        let workload = Workload::new(&self.what, &self.form)?;
        let mut cases = Vec::new();
        for layer in &workload.layers {
            for (layer, sweep) in self.points(layer)? {
                cases.extend(of_layer(&workload, &layer, sweep)?);
            }
        }
        Ok(cases)
    }

    /// The layer at each point of the sweep; itself, where there is none. All keep its name, which is the seed of how rows
    /// are spread.
    fn points(&self, layer: &Layer) -> Result<Vec<(Layer, Option<Point>)>, BenchError> {
        let Some(axis) = self.sweep.sweep else { return Ok(vec![(layer.clone(), None)]) };
        if axis == AxisArg::M && self.what.model.is_some() {
            if !self.sweep.points.is_empty() {
                return Err(BenchError::RowsOfModel);
            }
            // "qwen3_moe up of 64 tokens": the tokens are the axis.
            let name = layer.name.split(" of ").next().unwrap_or(&layer.name).to_owned();
            return Ok(vec![(Layer { name, ..layer.clone() }, Some(Point { axis: Axis::M, at: layer.m as f64 }))]);
        }
        let points = match axis {
            _ if !self.sweep.points.is_empty() => self.sweep.points.clone(),
            AxisArg::M => defaults::ROWS.map(|power| f64::from(power).exp2()).collect(),
            AxisArg::Skew => defaults::SKEWS.to_vec(),
        };
        let at = |value: f64| {
            let mut layer = Layer { sizes: Vec::new(), ..layer.clone() };
            match axis {
                AxisArg::M if value >= 1.0 && value.fract() == 0.0 && value < 1e15 => layer.m = value as usize,
                AxisArg::M => return Err(BenchError::Rows { value }),
                AxisArg::Skew if value >= 0.0 && value.is_finite() => {
                    (layer.spread, layer.skew) = (None, Some(value));
                }
                AxisArg::Skew => return Err(BenchError::Skew { value }),
            }
            Ok((layer, Some(Point { axis: axis.into(), at: value })))
        };
        points.into_iter().map(at).collect()
    }
}

fn of_layer(
    workload: &Workload<'_>,
    layer: &Layer,
    sweep: Option<Point>,
) -> Result<impl Iterator<Item = Case>, WorkloadError> {
    let (name, spread) = (layer.name.clone(), layer.spread());
    let case = move |task: Task| {
        let problem = task.problem().clone();
        Case { task, subject: Subject { case: name.clone(), spread: spread.clone(), sweep, problem } }
    };
    Ok(workload.tasks(layer)?.into_iter().map(case))
}

/// A case as lines and bars call it.
pub(super) fn label(subject: &Subject) -> String {
    match subject.sweep {
        None => subject.case.clone(),
        Some(Point { axis: Axis::M, at }) => format!("{} M={at}", subject.case),
        Some(Point { axis: Axis::Skew, at }) => format!("{} skew={at}", subject.case),
    }
}
