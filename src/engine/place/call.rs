//! Calls of models in a statement.   words ─► [`Call`]s ─► the model's name, or the argument, that an error is about
//!
//! The same call may stand in a statement several times, and any of them is the place: they are mended together.

use std::ops::Range;

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::word;
use crate::error::Error;
use crate::model::Function;

/// A call and its arguments, as places among the words.
struct Call {
    function: String,
    arguments: Vec<Range<usize>>,
}

/// The words that an error of a model or its features is about.
pub(super) fn find(error: &Error, tokens: &[TokenWithSpan]) -> Option<Range<usize>> {
    let message = error.message();
    if let Some((function, _)) = message.strip_prefix("the first argument of ").and_then(|rest| rest.split_once("()")) {
        let mut other = calls(tokens).into_iter().filter(|call| call.function == function && call.model(tokens).is_none());
        return match (other.next(), other.next()) {
            (Some(call), None) => call.arguments.into_iter().next(),
            _ => None,
        };
    }
    let begins = ["model \"", "no model \"", "no version of model \"", "\""];
    let name = begins.iter().find_map(|begin| message.strip_prefix(begin))?.split('"').next()?;
    // The version may be the registry's addition.
    let bare = name.split_once(':').map_or(name, |(bare, _)| bare);
    let mine: Vec<Call> =
        calls(tokens).into_iter().filter(|call| call.model(tokens).is_some_and(|m| m == name || m == bare)).collect();
    let given = |call: &&Call| message.contains(&format!(", {} w", call.arguments.len() - 1));
    let Some(argument) = error.argument() else {
        return mine.iter().find(given).or(mine.first())?.arguments.first().cloned();
    };
    // A field of a struct is named itself.
    if message.contains("is near") {
        return None;
    }
    let at = |call: &Call| call.arguments.get(argument + 1).cloned();
    let feature = message.rsplit_once(", \"").and_then(|(_, rest)| rest.split('"').next());
    let is_named = |place: &Range<usize>| {
        feature.is_some_and(|name| tokens[place.clone()].last().and_then(|t| word(&t.token)).is_some_and(|w| w == name))
    };
    mine.iter().filter_map(at).find(is_named).or_else(|| mine.iter().find_map(at))
}

impl Call {
    /// The model's name, if it stands there.
    fn model<'t>(&self, tokens: &'t [TokenWithSpan]) -> Option<&'t str> {
        match &tokens[self.arguments.first()?.clone()] {
            [TokenWithSpan { token: Token::SingleQuotedString(name), .. }] => Some(name),
            _ => None,
        }
    }
}

/// All calls of models, also those inside of others.
fn calls(tokens: &[TokenWithSpan]) -> Vec<Call> {
    let call = |at: usize| {
        let name = word(&tokens[at].token)?.to_lowercase();
        let known = Function::ALL.iter().any(|function| function.name() == name);
        let opens = tokens.get(at + 1).is_some_and(|t| t.token == Token::LParen);
        (known && opens).then(|| Call { function: name, arguments: arguments(tokens, at + 2) })
    };
    (0..tokens.len()).filter_map(call).filter(|call| !call.arguments.is_empty()).collect()
}

/// The arguments of the call whose first word behind its parenthesis is at `start`.
fn arguments(tokens: &[TokenWithSpan], start: usize) -> Vec<Range<usize>> {
    let (mut found, mut begin, mut depth) = (Vec::new(), start, 0_usize);
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen if depth == 0 => {
                if begin < at {
                    found.push(begin..at);
                }
                return found;
            }
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            Token::Comma if depth == 0 => {
                found.push(begin..at);
                begin = at + 1;
            }
            _ => {}
        }
    }
    found
}
