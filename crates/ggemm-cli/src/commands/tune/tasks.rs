//! What the flags ask to be tuned.

use std::path::Path;

use ggemm_codegen::{Dtype, Operation, Problem, WeightLayout, WeightSharing};
use ggemm_runtime::tune::{Layer, Model, Suite, Task};

use super::args::{FormArgs, TuneArgs, WhatArgs, defaults};
use super::error::TuneCommandError;
use crate::commands::run::Router;
use crate::parsers::{Layout, Weights};

impl TuneArgs {
    /// A task for each problem, none twice.
    pub(super) fn tasks(&self) -> Result<Vec<Task>, TuneCommandError> {
        let mut operand = None;
        let layers = if let Some(path) = &self.what.model {
            let model = self.model(path)?;
            operand = model.dtype;
            let ranks = self.what.expert_parallel.unwrap_or(defaults::RANKS);
            let mut layers = Vec::new();
            for &tokens in &self.what.tokens {
                layers.extend(model.layers(tokens, ranks, &self.form.operations())?);
            }
            layers
        } else if let Some(path) = &self.what.suite {
            let mut layers = Suite::read(path)?.layers;
            layers.iter_mut().for_each(|layer| layer.operations.retain(|operation| self.form.wants(*operation)));
            layers
        } else {
            vec![self.what.layer(self.form.operations())]
        };
        let operand = self.form.dtype.or(operand).unwrap_or(Dtype::Bf16);
        let form = |problem| self.form.apply(problem, operand);
        let mut tasks: Vec<Task> = Vec::new();
        for layer in layers {
            for task in layer.tasks(&form)? {
                if !tasks.iter().any(|known| known.key() == task.key()) {
                    tasks.push(task);
                }
            }
        }
        if tasks.is_empty() { Err(TuneCommandError::Nothing) } else { Ok(tasks) }
    }

    fn model(&self, path: &Path) -> Result<Model, TuneCommandError> {
        let path = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
        Ok(Model::read(&path)?)
    }
}

impl WhatArgs {
    /// The one layer of flags.
    fn layer(&self, operations: Vec<Operation>) -> Layer {
        let sizes = match (&self.sizes, self.groups, self.rows) {
            (Some(sizes), ..) => sizes.0.clone(),
            (None, groups, rows) => {
                let router = self.router.unwrap_or(Router::Zipf);
                router.sizes(groups.unwrap_or(0), rows.unwrap_or(0), defaults::SEED)
            }
        };
        Layer {
            name: "layer".to_owned(),
            groups: self.groups.unwrap_or(sizes.len()),
            m: sizes.iter().fold(0, |rows, size| rows.saturating_add(*size)),
            n: self.n.unwrap_or(0),
            k: self.k.unwrap_or(0),
            sizes,
            spread: None,
            operations,
        }
    }
}

impl FormArgs {
    fn wants(&self, operation: Operation) -> bool {
        self.ops.is_empty() || self.ops.contains(&operation)
    }

    /// Each operation once, in the order of a training step.
    fn operations(&self) -> Vec<Operation> {
        Operation::ALL.into_iter().filter(|operation| self.wants(*operation)).collect()
    }

    fn apply(&self, problem: Problem, operand: Dtype) -> Problem {
        let accumulates = self.accumulate && problem.operation == Operation::GradW;
        let output = if accumulates { Dtype::F32 } else { self.output_dtype.unwrap_or(operand) };
        problem
            .operand(operand)
            .output(output)
            .accumulate(accumulates)
            .weight_sharing(self.weights.map_or(WeightSharing::PerExpert, Weights::into))
            .weight_layout(self.weight_layout.map_or(WeightLayout::Nk, Layout::into))
    }
}
