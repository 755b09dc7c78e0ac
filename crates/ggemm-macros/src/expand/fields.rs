//! `key: value, …` with recovery: a mistake in one field does not hide those in the next.

use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenTree};

use super::errors::Errors;
use super::invocation::flatten;
use super::suggest;

/// A value and where it was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// One field.
pub(super) struct Field {
    pub(super) key: Ident,
    /// The tokens between the colon and the comma, never empty.
    value: Vec<TokenTree>,
}

/// The fields between a pair of braces: known keys only, none twice.
pub(super) struct Fields {
    fields: Vec<Field>,
    /// Keys of fields that had a mistake, which was reported: they are not missing.
    spoilt: Vec<String>,
    /// For errors about fields that are missing.
    owner: Span,
}

impl Fields {
    /// Reads the fields of `body`, whose legal keys are `known`. `owner` is where a missing field is reported.
    pub(super) fn read(body: &Group, known: &[&str], owner: Span, errors: &mut Errors) -> Self {
        let (mut fields, mut spoilt) = (Vec::<Field>::new(), Vec::new());
        for part in split_at_commas(flatten(body.stream())) {
            let field = match Field::read(part, known, errors) {
                Ok(field) => field,
                Err(meant) => {
                    spoilt.extend(meant);
                    continue;
                }
            };
            if fields.iter().any(|other| other.key == field.key) {
                errors.at(field.key.span(), format!("`{}` is given twice: keep one", field.key));
            } else {
                fields.push(field);
            }
        }
        Fields { fields, spoilt, owner }
    }

    /// The field of this key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// The field of this key, or an error that shows how to write one.
    pub(super) fn require(&self, key: &str, example: &str, errors: &mut Errors) -> Option<&Field> {
        let field = self.get(key);
        if field.is_none() && !self.spoilt.iter().any(|spoilt| spoilt == key) {
            errors.at(self.owner, format!("`{key}` is missing: add `{key}: {example},`"));
        }
        field
    }

    /// Those whose key is none of `keys`.
    pub(super) fn other_than<'a>(&'a self, keys: &'a [&str]) -> impl Iterator<Item = &'a Field> {
        self.fields.iter().filter(move |field| !keys.iter().any(|key| field.key == key))
    }
}

impl Field {
    /// The field, or the key that was meant where one can be guessed.
    fn read(part: Vec<TokenTree>, known: &[&str], errors: &mut Errors) -> Result<Self, Option<String>> {
        let mut tokens = part.into_iter();
        let key = match tokens.next() {
            Some(TokenTree::Ident(key)) => key,
            other => {
                let span = other.map_or_else(Span::call_site, |token| token.span());
                errors.at(span, format!("expected `key: value`, where the key is {}", suggest::list(known)));
                return Err(None);
            }
        };
        let name = key.to_string();
        if !known.contains(&name.as_str()) {
            let near = suggest::nearest(&name, known);
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("expected {}", suggest::list(known)),
            };
            errors.at(key.span(), format!("unknown key `{name}`: {hint}"));
            return Err(near.map(str::to_owned));
        }
        match tokens.next() {
            Some(TokenTree::Punct(colon)) if colon.as_char() == ':' => {}
            other => {
                let span = other.map_or_else(|| key.span(), |token| token.span());
                errors.at(span, format!("expected `:` and a value after `{name}`"));
                return Err(Some(name));
            }
        }
        let value: Vec<TokenTree> = tokens.collect();
        if value.is_empty() {
            errors.at(key.span(), format!("`{name}` has no value"));
            return Err(Some(name));
        }
        Ok(Field { key, value })
    }

    /// Where the value was written: its first token that does not fit, or its first.
    pub(super) fn span(&self) -> Span {
        self.value.first().map_or_else(|| self.key.span(), TokenTree::span)
    }

    /// The value, when it is a single word such as `all`.
    pub(super) fn word(&self) -> Option<String> {
        match self.value.as_slice() {
            [TokenTree::Ident(ident)] => Some(ident.to_string()),
            _ => None,
        }
    }

    /// The value, when it is one group in these delimiters.
    pub(super) fn group(&self, delimiter: Delimiter) -> Option<&Group> {
        match self.value.as_slice() {
            [TokenTree::Group(group)] if group.delimiter() == delimiter => Some(group),
            _ => None,
        }
    }

    /// The value, when it is one literal.
    pub(super) fn literal(&self) -> Option<&Literal> {
        match self.value.as_slice() {
            [TokenTree::Literal(literal)] => Some(literal),
            _ => None,
        }
    }

    /// The value as a list of single tokens, each turned into a `T`; `form` says how such a list is written. All that
    /// do not fit are reported and left out; `None` if none is left.
    pub(super) fn list<T: PartialEq>(
        &self,
        form: &str,
        item: impl Fn(&TokenTree) -> Result<T, String>,
        errors: &mut Errors,
    ) -> Option<Vec<Spanned<T>>> {
        let Some(group) = self.group(Delimiter::Bracket) else {
            errors.at(self.span(), format!("`{}` takes {form}", self.key));
            return None;
        };
        let before = errors.count();
        let mut values: Vec<Spanned<T>> = Vec::new();
        for part in split_at_commas(flatten(group.stream())) {
            let token = match part.as_slice() {
                [token] => token,
                [_, extra, ..] => {
                    errors.at(extra.span(), "expected `,` or `]`");
                    continue;
                }
                [] => continue,
            };
            match item(token) {
                Ok(value) if values.iter().any(|other| other.value == value) => {
                    errors.at(token.span(), format!("`{token}` is listed twice: keep one"));
                }
                Ok(value) => values.push(Spanned { value, span: token.span() }),
                Err(message) => errors.at(token.span(), message),
            }
        }
        if values.is_empty() && errors.count() == before {
            errors.at(group.span(), format!("`{}` is empty: it takes {form}", self.key));
        }
        (!values.is_empty()).then_some(values)
    }
}

/// The parts between commas; none is empty, unless commas follow each other.
fn split_at_commas(tokens: Vec<TokenTree>) -> Vec<Vec<TokenTree>> {
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    tokens.split(is_comma).filter(|part| !part.is_empty()).map(<[TokenTree]>::to_vec).collect()
}
