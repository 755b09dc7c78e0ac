//! `[library] attributes visibility mod name { body }`.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

use super::errors::Errors;

/// The outer form of an invocation.
pub(super) struct Invocation {
    /// The path of the crate that has the module `baked`.
    pub(super) library: TokenStream,
    /// Attributes, visibility and `mod`, as they were written.
    pub(super) head: TokenStream,
    /// The module's name.
    pub(super) name: Ident,
    /// What is asked for.
    pub(super) body: Group,
}

const FORM: &str = "expected a module: `kernels! { pub mod name { ops: [forward], dtypes: [bf16], arch: [sm_80] } }`";

impl Invocation {
    /// Takes the outer form apart; `None` after an error.
    pub(super) fn parse(input: TokenStream, errors: &mut Errors) -> Option<Self> {
        let mut tokens = flatten(input).into_iter().peekable();
        let library = match tokens.next() {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => group.stream(),
            other => {
                let message = "call `kernels!` through ggemm or ggemm_runtime, which say what the library is called";
                errors.at(span_of(other.as_ref()), message);
                return None;
            }
        };
        let mut head = TokenStream::new();
        let mut expect_attribute = false;
        loop {
            let token = tokens.next();
            let fits = match &token {
                Some(TokenTree::Punct(punct)) => punct.as_char() == '#',
                Some(TokenTree::Group(group)) if expect_attribute => group.delimiter() == Delimiter::Bracket,
                // `pub(crate)`
                Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Parenthesis,
                Some(TokenTree::Ident(ident)) => ident == "pub" || ident == "mod",
                _ => false,
            };
            let Some(token) = token.clone().filter(|_| fits) else {
                errors.at(span_of(token.as_ref()), FORM);
                return None;
            };
            expect_attribute = matches!(token, TokenTree::Punct(_));
            let done = matches!(&token, TokenTree::Ident(ident) if ident == "mod");
            head.extend([token]);
            if done {
                break;
            }
        }
        let name = match tokens.next() {
            Some(TokenTree::Ident(name)) => name,
            other => {
                errors.at(span_of(other.as_ref()), "expected the module's name");
                return None;
            }
        };
        let body = match tokens.next() {
            Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => body,
            other => {
                let span = other.map_or_else(|| name.span(), |token| token.span());
                errors.at(span, format!("expected `{{ … }}` with what `{name}` shall hold"));
                return None;
            }
        };
        if let Some(extra) = tokens.next() {
            errors.at(extra.span(), "`kernels!` makes one module: give the next one an invocation of its own");
        }
        Some(Invocation { library, head, name, body })
    }
}

fn span_of(token: Option<&TokenTree>) -> Span {
    token.map_or_else(Span::call_site, TokenTree::span)
}

/// Opens the invisible groups in which `macro_rules!` passes fragments, so that a value may come from a user's macro.
pub(super) fn flatten(tokens: TokenStream) -> Vec<TokenTree> {
    let mut flat = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => flat.extend(flatten(group.stream())),
            token => flat.push(token),
        }
    }
    flat
}
