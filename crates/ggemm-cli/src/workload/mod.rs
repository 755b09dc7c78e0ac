//! The layers that commands tune or time: a model's, a suite's, or one of flags.

mod args;
mod error;
mod suite;

use ggemm_codegen::Dtype;
use ggemm_runtime::tune::{Layer, Model, Task};

pub(crate) use args::{FormArgs, WhatArgs};
pub(crate) use error::WorkloadError;
pub(crate) use suite::SuiteArg;

use crate::commands::run::Router;

/// Layers, and the form of their problems.
#[derive(Debug)]
pub(crate) struct Workload<'a> {
    /// The layers, with the operations that are wanted.
    pub(crate) layers: Vec<Layer>,
    form: &'a FormArgs,
    operand: Dtype,
}

impl<'a> Workload<'a> {
    /// What the flags ask for.
    pub(crate) fn new(what: &WhatArgs, form: &'a FormArgs) -> Result<Self, WorkloadError> {
        let mut operand = None;
        let mut layers = if let Some(path) = &what.model {
            let path = if path.is_dir() { path.join("config.json") } else { path.clone() };
            let model = Model::read(&path)?;
            operand = model.dtype;
            let mut layers = Vec::new();
            for &tokens in &what.tokens {
                layers.extend(model.layers(tokens, what.expert_parallel.unwrap_or(1), &form.operations())?);
            }
            layers
        } else if let Some(suite) = &what.suite {
            only(suite.read()?.layers, &what.only)?
        } else {
            vec![layer(what, form)]
        };
        layers.iter_mut().for_each(|layer| layer.operations.retain(|operation| form.wants(*operation)));
        layers.retain(|layer| !layer.operations.is_empty());
        if layers.is_empty() {
            return Err(WorkloadError::Nothing);
        }
        Ok(Workload { layers, form, operand: form.dtype.or(operand).unwrap_or(Dtype::Bf16) })
    }

    /// A task for each of a layer's operations.
    pub(crate) fn tasks(&self, layer: &Layer) -> Result<Vec<Task>, WorkloadError> {
        Ok(layer.tasks(&|problem| self.form.apply(problem, self.operand))?)
    }
}

/// The layers of these names, in the suite's order; all where none is named.
fn only(layers: Vec<Layer>, names: &[String]) -> Result<Vec<Layer>, WorkloadError> {
    if let Some(name) = names.iter().find(|name| layers.iter().all(|layer| layer.name != **name)) {
        let known = layers.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(WorkloadError::NoCase { name: name.clone(), known });
    }
    Ok(layers.into_iter().filter(|layer| names.is_empty() || names.contains(&layer.name)).collect())
}

/// The one layer of flags.
fn layer(what: &WhatArgs, form: &FormArgs) -> Layer {
    let sizes = what.sizes.as_ref().map_or_else(Vec::new, |sizes| sizes.0.clone());
    let (spread, skew) = match what.router {
        None => (None, None),
        // Every group with the same chance.
        Some(Router::Uniform) => (None, Some(0.0)),
        Some(router) => (Some(router.name().to_owned()), None),
    };
    Layer {
        name: "layer".to_owned(),
        groups: what.groups.unwrap_or(sizes.len()),
        m: what.rows.unwrap_or_else(|| sizes.iter().fold(0, |rows, size| rows.saturating_add(*size))),
        n: what.n.unwrap_or(0),
        k: what.k.unwrap_or(0),
        sizes,
        spread,
        skew,
        operations: form.operations(),
        source: None,
    }
}
