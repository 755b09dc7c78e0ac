//! What an invocation asks for, as values.

use std::ffi::OsString;
use std::fmt::Display;
use std::str::FromStr;

use ggemm_codegen::{Arch, Dtype, KernelSpec, Operation, Problem, Tile, WeightLayout};
use proc_macro2::{Delimiter, TokenTree};

use super::errors::Errors;
use super::fields::{Field, Fields, Spanned};
use super::invocation::Invocation;
use super::passes::Passes;
use super::suggest;
use super::table::{self, Tuned};
use super::tile;

/// A request without mistakes of form.
pub(super) struct Request {
    /// The architectures that the program will run on.
    pub(super) targets: Vec<Spanned<Arch>>,
    /// Which kernels.
    pub(super) kernels: Kernels,
}

/// The ways to say which kernels.
pub(super) enum Kernels {
    /// By their names.
    Named(Vec<Spanned<KernelSpec>>),
    /// All that ship.
    Shipped,
    /// By a table that says which are fastest.
    Tuned(Tuned),
    /// All of a pass before products.
    Passes(Passes),
    /// By what they are for.
    For(Purpose),
}

impl Request {
    /// The passes before products that it asks for, and for nothing else.
    pub(super) fn passes(&self) -> Option<Passes> {
        match self.kernels {
            Kernels::Passes(passes) => Some(passes),
            _ => None,
        }
    }

    /// The table, if it is one that says which kernels.
    pub(super) fn tuned(&self) -> Option<&Tuned> {
        match &self.kernels {
            Kernels::Tuned(tuned) => Some(tuned),
            _ => None,
        }
    }
}

/// What kernels are for.
pub(super) struct Purpose {
    pub(super) operations: Vec<Operation>,
    pub(super) operands: Vec<Dtype>,
    /// `None`: the operands' own type, and f32 for grad_w.
    pub(super) outputs: Option<Vec<Dtype>>,
    pub(super) weights: Vec<WeightLayout>,
    pub(super) shape: Option<Shape>,
    pub(super) tiles: Tiles,
}

/// Sizes of a weight that are known when the program is built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) n: usize,
    pub(super) k: usize,
}

/// Which tiles.
pub(super) enum Tiles {
    /// From the catalogue, what suits the shape.
    Auto,
    /// From the catalogue, all that can run.
    Shipped,
    /// These.
    Listed(Vec<Spanned<Tile>>),
}

const KEYS: &[&str] =
    &["ops", "dtypes", "outputs", "arch", "weights", "shape", "tiles", "specs", "table", "quantizers", "realigners"];

/// Reads the body. After errors what is left of the request is returned if it has a meaning, so that its own mistakes
/// are found too.
pub(super) fn read(
    invocation: &Invocation,
    environment: &dyn Fn(&str) -> Option<OsString>,
    errors: &mut Errors,
) -> Option<Request> {
    let fields = Fields::read(&invocation.body, KEYS, invocation.name.span(), errors);
    let targets = fields
        .require("arch", "[sm_80, sm_90a]", errors)
        .and_then(|field| read_words(field, &Arch::ALL, "architectures", Ok, errors));
    let passes = [("quantizers", Passes::Quantizers), ("realigners", Passes::Realigners)];
    let passes = passes.into_iter().find_map(|(key, passes)| Some((fields.get(key)?, key, passes)));
    let kernels = match (fields.get("specs"), fields.get("table"), passes) {
        (Some(field), ..) => read_specs(field, &fields, errors),
        (None, Some(field), _) => {
            let targets = targets.as_deref().unwrap_or_default();
            read_table(field, &fields, targets, environment, errors).map(Kernels::Tuned)
        }
        (None, None, Some(passes)) => read_passes(passes, &fields, errors),
        (None, None, None) => read_purpose(&fields, errors).map(Kernels::For),
    };
    Some(Request { targets: targets?, kernels: kernels? })
}

fn read_specs(field: &Field, fields: &Fields, errors: &mut Errors) -> Option<Kernels> {
    for other in fields.other_than(&["specs", "arch"]) {
        errors.at(other.key.span(), format!("`specs` names whole kernels: remove `{}`, or `specs`", other.key));
    }
    if field.word().as_deref() == Some("shipped") {
        return Some(Kernels::Shipped);
    }
    let form = "`shipped` or a list of spec names in quotes, as `ggemm list` prints them";
    let spec = |token: &TokenTree| match string(token) {
        Some(name) => name.parse::<KernelSpec>().map_err(|error| error.to_string()),
        None => Err(format!("expected {form}")),
    };
    field.list(form, spec, errors).map(Kernels::Named)
}

fn read_table(
    field: &Field,
    fields: &Fields,
    targets: &[Spanned<Arch>],
    environment: &dyn Fn(&str) -> Option<OsString>,
    errors: &mut Errors,
) -> Option<Tuned> {
    for other in fields.other_than(&["table", "arch"]) {
        errors.at(other.key.span(), format!("`table` says which kernels: remove `{}`, or `table`", other.key));
    }
    let Some(path) = field.literal().and_then(|literal| string(&TokenTree::Literal(literal.clone()))) else {
        errors.at(field.span(), "`table` takes a file in quotes, as `ggemm tune --table` writes it");
        return None;
    };
    let targets: Vec<Arch> = targets.iter().map(|target| target.value).collect();
    match table::read(&path, &targets, environment) {
        Ok(tuned) => Some(tuned),
        Err(message) => {
            errors.at(field.span(), message);
            None
        }
    }
}

fn read_passes((field, key, passes): (&Field, &str, Passes), fields: &Fields, errors: &mut Errors) -> Option<Kernels> {
    for other in fields.other_than(&[key, "arch"]) {
        errors.at(other.key.span(), format!("`{key}` are kernels of their own: remove `{}`, or `{key}`", other.key));
    }
    if field.word().as_deref() == Some("all") {
        return Some(Kernels::Passes(passes));
    }
    errors.at(field.span(), format!("`{key}` takes `all`: they are few and small"));
    None
}

fn read_purpose(fields: &Fields, errors: &mut Errors) -> Option<Purpose> {
    let operations = fields
        .require("ops", "[forward, grad_x, grad_w]", errors)
        .and_then(|field| read_words(field, &Operation::ALL, "operations", Ok, errors))
        .map(values);
    let operands = fields
        .require("dtypes", "[bf16]", errors)
        .and_then(|field| read_words(field, &OPERANDS, "types", is_operand, errors))
        .map(values);
    let outputs =
        fields.get("outputs").map(|field| read_words(field, &Dtype::OUTPUTS, "types", is_output, errors).map(values));
    let weights = match fields.get("weights") {
        Some(field) => read_weights(field, errors),
        None => Some(vec![WeightLayout::Nk]),
    };
    let shape = fields.get("shape").map(|field| read_shape(field, errors));
    let tiles = match fields.get("tiles") {
        Some(field) => read_tiles(field, errors),
        None => Some(Tiles::Auto),
    };
    // An optional field that is there must have a value: `Some(None)` ends here.
    let outputs = outputs.map_or(Some(None), |outputs| outputs.map(Some))?;
    let shape = shape.map_or(Some(None), |shape| shape.map(Some))?;
    Some(Purpose { operations: operations?, operands: operands?, outputs, weights: weights?, shape, tiles: tiles? })
}

fn values<T>(spanned: Vec<Spanned<T>>) -> Vec<T> {
    spanned.into_iter().map(|spanned| spanned.value).collect()
}

/// The types that kernels multiply.
const OPERANDS: [Dtype; 2] = [Dtype::Bf16, Dtype::F16];

fn is_operand(dtype: Dtype) -> Result<Dtype, String> {
    let refused = || format!("no kernel multiplies {dtype}: use bf16 or f16 (the output may be f32)");
    OPERANDS.contains(&dtype).then_some(dtype).ok_or_else(refused)
}

fn is_output(dtype: Dtype) -> Result<Dtype, String> {
    let refused = || format!("no kernel writes {dtype}: use bf16, f16 or f32");
    Dtype::OUTPUTS.contains(&dtype).then_some(dtype).ok_or_else(refused)
}

/// A list of words out of `known`, or `all` of them. `check` may refuse a value.
fn read_words<T>(
    field: &Field,
    known: &[T],
    what: &str,
    check: impl Fn(T) -> Result<T, String>,
    errors: &mut Errors,
) -> Option<Vec<Spanned<T>>>
where
    T: Copy + PartialEq + Display + FromStr<Err: Display>,
{
    if field.word().as_deref() == Some("all") {
        return Some(spanned(field, known));
    }
    let names: Vec<String> = known.iter().map(T::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let form = match names.as_slice() {
        [first, .., last] => format!("`all` or a list of {what}, such as [{first}, {last}]"),
        _ => format!("a list of {what}"),
    };
    let word = |token: &TokenTree| {
        let text = token.to_string();
        let value = text.parse::<T>().map_err(|error| match suggest::nearest(&text, &names) {
            Some(near) => format!("{error}; did you mean `{near}`?"),
            None => error.to_string(),
        });
        value.and_then(&check)
    };
    field.list(&form, word, errors)
}

fn spanned<T: Copy>(field: &Field, values: &[T]) -> Vec<Spanned<T>> {
    values.iter().map(|value| Spanned { value: *value, span: field.span() }).collect()
}

fn read_weights(field: &Field, errors: &mut Errors) -> Option<Vec<WeightLayout>> {
    if field.word().as_deref() == Some("all") {
        return Some(vec![WeightLayout::Nk, WeightLayout::Kn]);
    }
    let layout = |token: &TokenTree| match token.to_string().as_str() {
        "nk" => Ok(WeightLayout::Nk),
        "kn" => Ok(WeightLayout::Kn),
        other => Err(format!("`{other}` is not a weight layout: expected `nk` ([N, K] in memory) or `kn` ([K, N])")),
    };
    field.list("`all` or a list of weight layouts, such as [nk]", layout, errors).map(values)
}

fn read_shape(field: &Field, errors: &mut Errors) -> Option<Shape> {
    let Some(group) = field.group(Delimiter::Brace) else {
        errors.at(field.span(), "`shape` takes the weight's sizes, such as { n: 1536, k: 2048 }");
        return None;
    };
    let fields = Fields::read(group, &["n", "k"], group.span(), errors);
    let n = read_extent(&fields, "n", "1536", errors);
    let k = read_extent(&fields, "k", "2048", errors);
    let shape = Shape { n: n?, k: k? };
    if let Err(error) = Problem::forward(1, 1, shape.n, shape.k).validate() {
        errors.at(group.span(), error.to_string());
        return None;
    }
    Some(shape)
}

fn read_extent(fields: &Fields, key: &str, example: &str, errors: &mut Errors) -> Option<usize> {
    let field = fields.require(key, example, errors)?;
    let value = field.literal().and_then(|literal| literal.to_string().replace('_', "").parse::<usize>().ok());
    match value {
        None => {
            let message =
                format!("`{key}` takes a decimal number such as {example}: a macro cannot read constants by name");
            errors.at(field.span(), message);
            None
        }
        Some(0) => {
            errors.at(
                field.span(),
                format!("`{key}` is 0: a weight that is known to be empty needs no kernel; nearest: 1"),
            );
            None
        }
        Some(value) => Some(value),
    }
}

fn read_tiles(field: &Field, errors: &mut Errors) -> Option<Tiles> {
    match field.word().as_deref() {
        Some("auto") => return Some(Tiles::Auto),
        Some("shipped") => return Some(Tiles::Shipped),
        _ => {}
    }
    let form = "`auto`, `shipped`, or a list of tiles such as [128x256x64] (rows x columns x depth)";
    let tile = |token: &TokenTree| {
        // `128x256x64` is a literal to the lexer: 128 with a suffix.
        let text = string(token).unwrap_or_else(|| token.to_string());
        tile::parse(&text).ok_or_else(|| {
            format!("`{text}` is not a tile: expected rows x columns x depth of a stage, such as 128x256x64")
        })
    };
    field.list(form, tile, errors).map(Tiles::Listed)
}

/// What a string literal without escapes holds.
fn string(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Literal(literal) => {
            let text = literal.to_string();
            text.strip_prefix('"')?.strip_suffix('"').map(str::to_owned)
        }
        _ => None,
    }
}
