//! A model's expert layers, from the `config.json` that comes with its weights.

use std::path::{Path, PathBuf};

use ggemm_codegen::{Dtype, Operation};
use serde_json::{Map, Value};

use super::suite::Layer;

/// What a Mixture-of-Experts model's `config.json` says of its experts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Model {
    /// `model_type`.
    pub name: String,
    /// Features of a token.
    pub hidden: usize,
    /// Features inside an expert.
    pub intermediate: usize,
    /// Experts of a layer.
    pub experts: usize,
    /// Experts that a token goes to.
    pub experts_per_token: usize,
    /// The weights' type, where it is one that kernels take.
    pub dtype: Option<Dtype>,
}

/// Why a file is no model that experts are known of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// It cannot be read.
    #[error("the model's file {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no JSON object.
    #[error("it is no config.json of a model: {reason}")]
    Json {
        /// What was met instead.
        reason: String,
    },
    /// It says nothing about something.
    #[error("the model's config.json has no {what}: looked for {}; is it a Mixture of Experts? Or name a layer by G, M, N and K", keys.join(", "))]
    Missing {
        /// What is missing.
        what: &'static str,
        /// The keys that would say it.
        keys: &'static [&'static str],
    },
    /// A number that is none.
    #[error("`{key}` of the model's config.json is {value}: expected a whole number, at least 1")]
    Number {
        /// The key.
        key: &'static str,
        /// What it says.
        value: String,
    },
    /// Experts that do not divide among the GPUs.
    #[error("{experts} experts do not divide among {ranks} GPUs: give a divisor of {experts}")]
    Ranks {
        /// Experts of a layer.
        experts: usize,
        /// GPUs that share them.
        ranks: usize,
    },
}

/// The names that models give to one thing; the first that is there counts. Where a model has dense layers too,
/// `intermediate_size` is theirs.
const HIDDEN: &[&str] = &["hidden_size"];
const INTERMEDIATE: &[&str] = &["moe_intermediate_size", "intermediate_size"];
const EXPERTS: &[&str] = &["n_routed_experts", "num_experts", "num_local_experts"];
const EXPERTS_PER_TOKEN: &[&str] = &["num_experts_per_tok", "experts_per_token", "moe_topk"];

impl Model {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Reads a file's text. Of a model of text and more, the part `text_config` counts.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| ModelError::Json { reason: error.to_string() })?;
        let Value::Object(outer) = value else {
            return Err(ModelError::Json { reason: "it is no object".to_owned() });
        };
        let config = match outer.get("text_config") {
            Some(Value::Object(inner)) => inner,
            _ => &outer,
        };
        let word = |key: &str| config.get(key).or_else(|| outer.get(key)).and_then(Value::as_str);
        let dtype = match word("dtype").or_else(|| word("torch_dtype")) {
            Some("bfloat16") => Some(Dtype::Bf16),
            Some("float16") => Some(Dtype::F16),
            _ => None,
        };
        Ok(Model {
            name: word("model_type").unwrap_or("model").to_owned(),
            hidden: number(config, "width of a token", HIDDEN)?,
            intermediate: number(config, "width of an expert", INTERMEDIATE)?,
            experts: number(config, "number of experts", EXPERTS)?,
            experts_per_token: number(config, "number of experts for a token", EXPERTS_PER_TOKEN)?,
            dtype,
        })
    }

    /// Its two layers of experts for a batch of so many tokens on each GPU: `up`, gate and up projection in one weight
    /// [2 · intermediate, hidden], and `down`, [hidden, intermediate]. `ranks` GPUs share the experts; each gets, on
    /// average, as many rows as its own tokens have experts.
    ///
    /// # Errors
    /// [`ModelError::Ranks`].
    pub fn layers(&self, tokens: usize, ranks: usize, operations: &[Operation]) -> Result<Vec<Layer>, ModelError> {
        if ranks == 0 || !self.experts.is_multiple_of(ranks) {
            return Err(ModelError::Ranks { experts: self.experts, ranks });
        }
        let layer = |part: &str, n: usize, k: usize| Layer {
            name: format!("{} {part} of {tokens} tokens", self.name),
            groups: self.experts / ranks,
            m: tokens.saturating_mul(self.experts_per_token),
            n,
            k,
            sizes: Vec::new(),
            spread: None,
            skew: None,
            source: None,
            operations: operations.to_vec(),
        };
        Ok(vec![
            layer("up", self.intermediate.saturating_mul(2), self.hidden),
            layer("down", self.hidden, self.intermediate),
        ])
    }
}

fn number(config: &Map<String, Value>, what: &'static str, keys: &'static [&'static str]) -> Result<usize, ModelError> {
    let known = keys.iter().find_map(|key| Some((*key, config.get(*key).filter(|value| !value.is_null())?)));
    let (key, value) = known.ok_or(ModelError::Missing { what, keys })?;
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| ModelError::Number { key, value: value.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(text: &str) -> Result<Model, ModelError> {
        Model::parse(text)
    }

    #[test]
    fn the_keys_of_known_models_are_read() {
        let qwen3 = model(
            r#"{ "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144,
                 "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "torch_dtype": "bfloat16" }"#,
        )
        .unwrap();
        assert_eq!((qwen3.intermediate, qwen3.experts, qwen3.dtype), (768, 128, Some(Dtype::Bf16)));
        let mixtral = model(
            r#"{ "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
                 "num_local_experts": 8, "num_experts_per_tok": 2 }"#,
        )
        .unwrap();
        assert_eq!((mixtral.intermediate, mixtral.experts, mixtral.dtype), (14336, 8, None));
        let deepseek = model(
            r#"{ "model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432,
                 "moe_intermediate_size": 2048, "n_routed_experts": 256, "num_experts_per_tok": 8 }"#,
        )
        .unwrap();
        assert_eq!((deepseek.intermediate, deepseek.experts), (2048, 256));
        let nested = model(
            r#"{ "model_type": "outer", "torch_dtype": "float16", "text_config": { "hidden_size": 8,
                 "intermediate_size": 16, "num_local_experts": 4, "num_experts_per_tok": 1 } }"#,
        )
        .unwrap();
        assert_eq!((nested.name.as_str(), nested.hidden, nested.dtype), ("outer", 8, Some(Dtype::F16)));
    }

    #[test]
    fn layers_are_those_that_a_gpu_computes() {
        let model = Model {
            name: "m".into(),
            hidden: 7168,
            intermediate: 2048,
            experts: 256,
            experts_per_token: 8,
            dtype: None,
        };
        let layers = model.layers(4096, 32, &[Operation::Forward]).unwrap();
        let sizes: Vec<_> = layers.iter().map(|l| (l.groups, l.m, l.n, l.k)).collect();
        assert_eq!(sizes, [(8, 32768, 4096, 7168), (8, 32768, 7168, 2048)]);
        assert_eq!(layers[0].name, "m up of 4096 tokens");
        for ranks in [0, 3] {
            assert!(matches!(model.layers(1, ranks, &[]), Err(ModelError::Ranks { .. })));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let message = |text: &str| model(text).unwrap_err().to_string();
        assert!(message("{").starts_with("it is no config.json of a model: "));
        assert!(message("[]").ends_with("it is no object"));
        let dense = message(r#"{ "hidden_size": 8, "intermediate_size": 16 }"#);
        assert!(
            dense.starts_with("the model's config.json has no number of experts: looked for n_routed_experts, "),
            "{dense}"
        );
        assert_eq!(
            message(r#"{ "hidden_size": -8 }"#),
            "`hidden_size` of the model's config.json is -8: expected a whole number, at least 1"
        );
    }
}
