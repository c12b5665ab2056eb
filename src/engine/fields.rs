//! Fields of structs that are not there.   error + what the query reads ─► the nearest field, or those there are
//!
//! DataFusion names the field and not the struct. The word before it in the query says which struct was meant, as a column or a
//! field of that name; where none is called so (an alias, a call), all structs that the query can see are looked through.

use arrow::datatypes::{DataType, FieldRef, Fields};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::resolve::Reads;
use super::session::Session;
use crate::error::{Error, did_you_mean};
use crate::model::answer::predict_type;
use crate::sql::Source;

/// Structs within structs are followed so deep.
const DEPTH: usize = 24;

impl Session {
    /// `no field "cty" in the struct` with the field that was meant.
    pub(super) fn with_near_field(&self, error: Error, reads: &Reads) -> Error {
        let name = error.message().strip_prefix("no field \"").and_then(|rest| rest.strip_suffix("\" in the struct"));
        let Some(name) = name.filter(|_| error.get_hint().is_none()).map(str::to_owned) else { return error };
        let mut structs = Vec::new();
        for (_, table) in &reads.tables {
            gather(table.rows.schema.fields(), &mut structs, 0);
        }
        for (view, _) in &reads.views {
            if let Some(view) = self.views.get(&view.to_lowercase()) {
                gather(&view.fields, &mut structs, 0);
            }
        }
        let tokens = Source::new(&reads.text, None).tokens().unwrap_or_default();
        if let DataType::Struct(fields) = predict_type()
            && tokens.iter().any(|token| word(token).is_some_and(|word| word.eq_ignore_ascii_case("predict")))
        {
            structs.push(("predict".to_owned(), fields));
        }
        let hint = near(&name, &structs, owner(&tokens, &name));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// The structs in `fields`, each with the name of the column or field that it is.
fn gather(fields: &Fields, structs: &mut Vec<(String, Fields)>, depth: usize) {
    for field in fields {
        inside(field, field.data_type(), structs, depth);
    }
}

fn inside(field: &FieldRef, data_type: &DataType, structs: &mut Vec<(String, Fields)>, depth: usize) {
    match data_type {
        _ if depth > DEPTH => {}
        DataType::Struct(fields) => {
            structs.push((field.name().clone(), fields.clone()));
            gather(fields, structs, depth + 1);
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            inside(field, item.data_type(), structs, depth + 1);
        }
        DataType::Map(entries, _) => {
            if let DataType::Struct(pair) = entries.data_type()
                && let Some(value) = pair.get(1)
            {
                inside(field, value.data_type(), structs, depth + 1);
            }
        }
        _ => {}
    }
}

/// What to write in the place of `name`, which is read from what is called `owner`.
fn near(name: &str, structs: &[(String, Fields)], owner: Option<&str>) -> Option<String> {
    let of = |wanted: &dyn Fn(&str) -> bool| {
        let mut known: Vec<&str> = Vec::new();
        for (_, fields) in structs.iter().filter(|(owner, _)| wanted(owner)) {
            let new = fields.iter().map(|field| field.name().as_str());
            new.for_each(|field| {
                if !known.contains(&field) {
                    known.push(field)
                }
            });
        }
        known
    };
    let mut known = of(&|own| owner.is_some_and(|owner| owner.eq_ignore_ascii_case(own)));
    if known.is_empty() {
        known = of(&|_| true);
    }
    did_you_mean(name, "fields", known)
}

/// The word before the field `name`: `user` in `p.user.name`, `user['name']`, `users[1].name`.
fn owner<'t>(tokens: &'t [TokenWithSpan], name: &str) -> Option<&'t str> {
    let is_field = |token: &Token| match token {
        Token::Word(word) => word.value.eq_ignore_ascii_case(name),
        Token::SingleQuotedString(text) => text == name,
        _ => false,
    };
    (2..tokens.len()).filter(|at| is_field(&tokens[*at].token)).find_map(|at| {
        let mut before = match tokens[at - 1].token {
            Token::Period | Token::LBracket => at - 2,
            _ => return None,
        };
        while tokens[before].token == Token::RBracket {
            let open = tokens[..before].iter().rposition(|token| token.token == Token::LBracket)?;
            before = open.checked_sub(1)?;
        }
        word(&tokens[before])
    })
}

fn word(token: &TokenWithSpan) -> Option<&str> {
    match &token.token {
        Token::Word(word) => Some(&word.value),
        _ => None,
    }
}
