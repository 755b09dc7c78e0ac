//! Tuning, for Python: layers in, the fastest variant of each out, and into the table.

use std::path::PathBuf;

use ggemm_runtime::tune::{
    Event, Model, ModelError, Settings, Store, Suite, SuiteError, TableError, TableLocation, Task, TuneError, Tuner,
    on_gpu,
};
use ggemm_runtime::{Dtype, Operation, Planner, Problem};
use pyo3::PyErr;
use pyo3::prelude::*;

use crate::error::{ArgumentError, DeviceError};
use crate::form;
use crate::plan::dtype;
use crate::plans;

/// Why nothing was tuned, or no more.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("layers: {0}")]
    Suite(#[from] SuiteError),
    #[error("model: {0}")]
    Model(#[from] ModelError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Tune(#[from] TuneError),
}

impl From<Stopped> for PyErr {
    fn from(stopped: Stopped) -> PyErr {
        let text = stopped.to_string();
        match stopped {
            Stopped::Suite(_) | Stopped::Model(_) => ArgumentError::new_err(text),
            Stopped::Table(_) | Stopped::Tune(_) => DeviceError::new_err(text),
        }
    }
}

/// What was found for one problem.
#[pyclass(frozen, get_all, module = "ggemm._ggemm")]
pub(crate) struct Tuned {
    /// The layer's name and the operation.
    label: String,
    /// The problem on one line.
    problem: String,
    /// The fastest variant that computes it right.
    variant: String,
    /// Its time.
    microseconds: f64,
    /// Whether the table had it before.
    known: bool,
}

#[pymethods]
impl Tuned {
    fn __repr__(&self) -> String {
        format!("<ggemm.Tuned {}: {} in {:.1} us>", self.label, self.variant, self.microseconds)
    }
}

/// The form of the layers' problems: types of operands and outputs, the weights' layout.
#[derive(Clone, Copy)]
struct Form {
    operand: Dtype,
    output: Option<Dtype>,
    layout: ggemm_runtime::WeightLayout,
}

impl Form {
    fn apply(self, problem: Problem) -> Problem {
        // There is nothing but TF32 to tune for f32.
        let problem = problem.operand(self.operand).weight_layout(self.layout).allow_tf32(self.operand == Dtype::F32);
        self.output.map_or(problem.clone(), |output| problem.output(output))
    }
}

/// Tunes layers. `suite` is a suite's text; `model` a `config.json` with the tokens of each batch and the GPUs that share
/// the experts.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub(crate) fn tune(
    py: Python<'_>,
    suite: Option<&str>,
    model: Option<(PathBuf, Vec<usize>, usize)>,
    types: (u8, Option<u8>),
    w_layout: &str,
    device: i32,
    table: Option<PathBuf>,
    within: f64,
    again: bool,
) -> PyResult<Vec<Tuned>> {
    let form = Form {
        operand: dtype("dtype", types.0)?,
        output: types.1.map(|code| dtype("out_dtype", code)).transpose()?,
        layout: form::layout(w_layout)?,
    };
    let tasks = tasks(suite, model, form)?;
    let location = table.map_or_else(TableLocation::from_env, TableLocation::At);
    let store = Store::at(location).map_err(Stopped::from)?;
    let planner = Planner::new(plans::device(device)?);
    let settings = Settings { within, again, ..Settings::default() };
    py.detach(|| run(&planner, &store, settings, &tasks))
}

/// One task at a time, so that Ctrl-C ends it between two: what is done is in the table.
fn run(planner: &Planner, store: &Store, settings: Settings, tasks: &[Task]) -> PyResult<Vec<Tuned>> {
    let mut found = Vec::new();
    let mut bench = on_gpu(planner).map_err(Stopped::from)?;
    for task in tasks {
        Python::attach(|py| py.check_signals())?;
        let mut observe = |event: &Event<'_>| {
            let (entry, known) = match event {
                Event::Known { entry, .. } => (entry, true),
                Event::Finished { entry, .. } => (entry, false),
                _ => return,
            };
            found.push(Tuned {
                label: task.label().to_owned(),
                problem: task.problem().to_string(),
                variant: entry.best.variant.to_string(),
                microseconds: entry.best.microseconds,
                known,
            });
        };
        let tuner = Tuner::new(planner, store, settings);
        tuner.run(&mut *bench, std::slice::from_ref(task), &mut observe).map_err(Stopped::from)?;
    }
    Ok(found)
}

fn tasks(suite: Option<&str>, model: Option<(PathBuf, Vec<usize>, usize)>, form: Form) -> Result<Vec<Task>, Stopped> {
    let mut layers = match suite {
        Some(text) => Suite::parse(text)?.layers,
        None => Vec::new(),
    };
    if let Some((path, tokens, ranks)) = model {
        let model = Model::read(&path)?;
        for count in tokens {
            layers.extend(model.layers(count, ranks, &Operation::ALL)?);
        }
    }
    let mut tasks = Vec::new();
    for layer in &layers {
        tasks.extend(layer.tasks(&|problem| form.apply(problem))?);
    }
    Ok(tasks)
}
