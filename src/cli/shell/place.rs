//! What may be typed at the cursor.   statement, cursor ─► [`place`] ─► a [`Place`] and the bytes that a choice replaces
//!
//! A line that is being typed is rarely a statement yet, so this looks at the words around the cursor and not at a tree: the
//! bracket that is open, the clause that was begun, the word before. Where it does not know it says so, and nothing is offered.

use std::ops::Range;

use sqlparser::tokenizer::Token;

use super::commands::{self, Argument};
use super::lex::{Lexed, Lexeme, lex};
use super::pieces;
use super::scope::{Scope, in_from, scope};
use super::words;

/// What may stand at the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing that can be told.
    Nothing,
    /// The begin of a statement.
    Start,
    /// A value: columns, functions.
    Operand,
    /// What goes on behind a value or a name.
    Clause,
    /// A table or a view; topics through `topic('...')`.
    Relation,
    /// A table or a view that exists.
    Object,
    /// Something that the session declares: a `table`, a `view`, a `function`.
    Declared(&'static str),
    /// What EXPLAIN takes; what it explains alone once its own words stand there.
    Explain { alone: bool },
    /// What follows a path of names and a dot: columns of a table or its alias, fields of a struct.
    Member(Vec<String>),
    /// A field of what this function gives.
    FieldOf(String),
    /// The name of an option in WITH; `given` are those that stand there, with their values.
    Option(Vec<(String, String)>),
    /// The value of an option.
    OptionValue(String),
    /// The name of a setting.
    Setting,
    /// The value of a setting.
    SettingValue(String),
    /// What SHOW takes.
    Show,
    /// A job.
    Job,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A topic.
    Topic,
    /// A model, the first argument of `score` and its like; without a quote also a value.
    Model,
    /// The name of a command.
    Command,
    /// A function's name alone.
    Function,
    /// A file.
    File,
    /// A parameter, behind its dollar sign.
    Parameter,
}

/// The cursor's surroundings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    pub place: Place,
    /// What a choice replaces: from the begin of the word (inside its quote) to the cursor.
    pub span: Range<usize>,
    /// Whether the cursor is inside a string, so that a choice closes it.
    pub in_string: bool,
    /// Whether it is in a command, where names stand without quotes.
    pub in_command: bool,
    /// What the query can name.
    pub scope: Scope,
    /// Whether the person types words of SQL in lower case.
    pub lower: bool,
}

/// What may be typed at the byte `cursor` of `text`.
pub(super) fn place(text: &str, cursor: usize) -> At {
    let before = text.get(..cursor).unwrap_or(text);
    if let Some(span) = command_before(before) {
        return in_command(before, span);
    }
    let Lexed { lexemes, open } = lex(before);
    let begin = lexemes.iter().rposition(|it| it.token == Token::SemiColon).map_or(0, |at| at + 1);
    let mut words: Vec<Lexeme> = lexemes.get(begin..).unwrap_or_default().to_vec();
    let commented = words.last().is_some_and(Lexeme::is_comment) || open.is_some_and(|at| before[at..].starts_with("/*"));
    let typed_lower = words.iter().find_map(Lexeme::word).is_some_and(|word| word.chars().all(|c| !c.is_uppercase()));
    let mut around = words.iter().filter(|it| !it.is_blank()).cloned().collect::<Vec<_>>();
    let here = around.len();
    around.extend(behind(text, cursor));
    let mut at = At {
        place: Place::Nothing,
        span: cursor..cursor,
        in_string: false,
        in_command: false,
        scope: scope(&around, here),
        lower: typed_lower,
    };
    if commented {
        return at;
    }
    if let Some(open) = open {
        words.retain(|it| !it.is_blank());
        if before[open..].starts_with('\'') {
            at.in_string = true;
            at.span.start = open + 1;
            at.place = in_string(&words);
        }
        return at;
    }
    let chain = chain_length(&words, cursor);
    let (head, chain) = words.split_at(words.len() - chain);
    let head: Vec<Lexeme> = head.iter().filter(|it| !it.is_blank()).cloned().collect();
    let start = chain.first().map_or(cursor, |first| first.span.start);
    if let Some(last) = words.last().filter(|last| chain.is_empty() && last.span.end == cursor) {
        match &last.token {
            Token::Number(..) => return at,
            Token::Placeholder(_) => {
                at.place = Place::Parameter;
                at.span.start = last.span.start + 1;
                return at;
            }
            _ => {}
        }
    }
    let dot = chain.iter().rposition(|it| it.token == Token::Period);
    at.span.start = start;
    at.place = outside(&head);
    // The names of options and settings have dots in them; those of columns have a table before theirs.
    let dotted = matches!(at.place, Place::Option(_) | Place::Setting | Place::Show | Place::OptionValue(_) | Place::Job);
    if let (Some(dot), false) = (dot, dotted) {
        at.span.start = chain.get(dot).map_or(start, |it| it.span.end);
        let names = chain.get(..dot).unwrap_or_default();
        let path: Vec<String> = names.iter().filter(|it| it.token != Token::Period).map(name_of).collect();
        at.place = match called(&head).filter(|_| path.is_empty()) {
            Some(function) => Place::FieldOf(function),
            None if path.is_empty() => Place::Nothing,
            None => Place::Member(path),
        };
    }
    if let Some(word) = text.get(at.span.clone()).filter(|word| !word.is_empty()) {
        at.lower = word.chars().all(|c| !c.is_uppercase());
    }
    at
}

/// The command that the cursor is in, at the end of `before`.
fn command_before(before: &str) -> Option<Range<usize>> {
    pieces::command_at(before, before.len())
}

fn in_command(before: &str, span: Range<usize>) -> At {
    let line = before.get(span.clone()).unwrap_or_default();
    let mut at =
        At { place: Place::Command, span, in_string: false, in_command: true, scope: Scope::default(), lower: true };
    let Some(blank) = line.find(char::is_whitespace) else { return at };
    let name = line.get(1..blank).unwrap_or_default();
    let word = line.rfind(char::is_whitespace).map_or(blank, |at| at + 1);
    at.span.start += word;
    let first = line.get(blank..word).unwrap_or_default().trim().is_empty();
    let spec = commands::COMMANDS.iter().find(|spec| spec.names.contains(&name.trim_end_matches('+')));
    at.place = match spec.map(|spec| spec.argument) {
        _ if !first => Place::Nothing,
        Some(Argument::Table) => Place::Object,
        Some(Argument::Function) => Place::Function,
        Some(Argument::Model) => Place::Model,
        Some(Argument::Topic) => Place::Topic,
        Some(Argument::File) => Place::File,
        Some(Argument::OneOf(words)) => Place::OneOf(words),
        Some(Argument::Parameter) => Place::Parameter,
        Some(Argument::Nothing | Argument::Text) | None => Place::Nothing,
    };
    at
}

/// The words of the statement behind the cursor.
fn behind(text: &str, cursor: usize) -> Vec<Lexeme> {
    let words = lex(text.get(cursor..).unwrap_or_default()).lexemes;
    words.into_iter().take_while(|it| it.token != Token::SemiColon).filter(|it| !it.is_blank()).collect()
}

/// How many lexemes at the end make up the name that is being typed: `a`, `a.b`, `a.`.
fn chain_length(words: &[Lexeme], cursor: usize) -> usize {
    let mut length = 0;
    let mut end = cursor;
    for it in words.iter().rev() {
        let part = matches!(&it.token, Token::Word(_) | Token::Period);
        if !part || it.span.end != end {
            break;
        }
        end = it.span.start;
        length += 1;
    }
    length
}

fn name_of(it: &Lexeme) -> String {
    match &it.token {
        Token::Word(word) => word.value.clone(),
        Token::SingleQuotedString(text) => text.clone(),
        _ => String::new(),
    }
}

fn is_at(words: &[Lexeme], at: usize, word: &str) -> bool {
    words.get(at).is_some_and(|it| it.is(word))
}

/// Whether `words` end with this phrase.
fn ends(words: &[Lexeme], phrase: &[&str]) -> bool {
    words.len() >= phrase.len() && phrase.iter().zip(&words[words.len() - phrase.len()..]).all(|(word, it)| it.is(word))
}

/// The innermost bracket that is open at the end of `words`.
fn open_bracket(words: &[Lexeme]) -> Option<usize> {
    let mut depth = 0usize;
    for (at, it) in words.iter().enumerate().rev() {
        match it.token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return Some(at),
            Token::LParen => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Whether a comma stands in `words` outside of inner brackets.
fn has_comma(words: &[Lexeme]) -> bool {
    let mut depth = 0i32;
    words.iter().any(|it| {
        match it.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        depth == 0 && it.token == Token::Comma
    })
}

/// The name before the `=` that `words` end with.
fn name_before_equals(words: &[Lexeme]) -> Option<String> {
    let (last, rest) = words.split_last()?;
    if last.token != Token::Eq {
        return None;
    }
    let mut parts: Vec<String> = Vec::new();
    let mut wants_name = true;
    for it in rest.iter().rev() {
        match (&it.token, wants_name) {
            (Token::Word(_) | Token::SingleQuotedString(_), true) => parts.push(name_of(it)),
            (Token::Period, false) => parts.push(".".to_owned()),
            _ => break,
        }
        wants_name = !wants_name;
    }
    parts.reverse();
    let name = parts.concat();
    (!name.is_empty()).then_some(name)
}

/// The options between the bracket of WITH and the cursor.
fn options(words: &[Lexeme]) -> Vec<(String, String)> {
    let items = words.split(|it| it.token == Token::Comma);
    items
        .filter_map(|item| {
            let equals = item.iter().position(|it| it.token == Token::Eq)?;
            let name = name_before_equals(item.get(..=equals)?)?;
            Some((name, item.get(equals + 1).map(name_of).unwrap_or_default()))
        })
        .collect()
}

/// The function whose call `words` end with.
fn called(words: &[Lexeme]) -> Option<String> {
    let (last, rest) = words.split_last()?;
    if last.token != Token::RParen {
        return None;
    }
    let open = open_bracket(rest)?;
    rest.get(open.checked_sub(1)?)?.word().filter(|word| !words::is_keyword(word)).map(str::to_owned)
}

/// Whether the bracket at `at` is that of a table's WITH.
fn of_with(words: &[Lexeme], at: usize) -> bool {
    at > 0 && is_at(words, at - 1, "WITH") && is_at(words, 0, "CREATE")
}

const SCORING: &[&str] = &["score", "classify", "predict"];

/// Inside a string that is not closed, behind `words`.
fn in_string(words: &[Lexeme]) -> Place {
    if let Some(bracket) = open_bracket(words) {
        if of_with(words, bracket) {
            return match name_before_equals(words) {
                Some(name) => Place::OptionValue(name),
                None => Place::Option(options(&words[bracket + 1..])),
            };
        }
        if bracket + 1 == words.len() && bracket > 0 {
            let function = &words[bracket - 1];
            if function.is("topic") {
                return Place::Topic;
            }
            if SCORING.iter().any(|name| function.is(name)) {
                return Place::Model;
            }
        }
    }
    if is_at(words, 0, "SET")
        && let Some(name) = name_before_equals(words)
    {
        return Place::SettingValue(name);
    }
    if ends(words, &["JOB"]) {
        return Place::Job;
    }
    let (first, last) = (words.first(), words.last());
    let of_function =
        first.is_some_and(|it| it.is("CREATE")) && last.is_some_and(|it| it.is("FROM")) && makes_function(words);
    let of_copy = first.is_some_and(|it| it.is("COPY")) && last.is_some_and(|it| it.is("TO"));
    if of_function || of_copy { Place::File } else { Place::Nothing }
}

/// Whether these are the words of a CREATE FUNCTION.
fn makes_function(words: &[Lexeme]) -> bool {
    is_at(words, 1, "FUNCTION") || (is_at(words, 1, "OR") && is_at(words, 2, "REPLACE") && is_at(words, 3, "FUNCTION"))
}

/// Outside of strings, behind `head`.
fn outside(head: &[Lexeme]) -> Place {
    let Some(last) = head.last() else { return Place::Start };
    if let Some(place) = of_statement(head) {
        return place;
    }
    if let Some(bracket) = open_bracket(head) {
        let inside = &head[bracket + 1..];
        if of_with(head, bracket) {
            return match &last.token {
                Token::Eq => name_before_equals(head).map_or(Place::Nothing, Place::OptionValue),
                Token::LParen | Token::Comma => Place::Option(options(inside)),
                _ => Place::Nothing,
            };
        }
        if let (true, Some(table)) = (is_insert_list(head, bracket), head.get(2)) {
            return Place::Member(vec![name_of(table)]);
        }
        if defines_columns(head, bracket) {
            return in_definition(inside);
        }
        if bracket > 0 && !has_comma(inside) && inside.is_empty() {
            let function = &head[bracket - 1];
            if function.is("topic") {
                return Place::Topic;
            }
            if SCORING.iter().any(|name| function.is(name)) {
                return Place::Model;
            }
        }
    }
    if last.is("FROM") || last.is("JOIN") || (last.token == Token::Comma && in_from(head)) {
        return Place::Relation;
    }
    match &last.token {
        Token::Word(_) if last.is("AS") && (is_at(head, 0, "CREATE") || is_at(head, 0, "WITH")) => Place::OneOf(&["SELECT"]),
        Token::Word(_) if last.is("AS") => Place::Nothing,
        Token::Word(_) if words::BEFORE_OPERANDS.iter().any(|word| last.is(word)) => Place::Operand,
        Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::RParen | Token::RBracket => Place::Clause,
        Token::Mul if head.len().checked_sub(2).is_none_or(|at| star_follows(&head[at])) => Place::Clause,
        _ => Place::Operand,
    }
}

/// Whether a `*` behind this stands for all columns.
fn star_follows(it: &Lexeme) -> bool {
    matches!(it.token, Token::Comma | Token::Period | Token::LParen) || it.is("SELECT")
}

/// Statements that are not queries, by how they begin.
fn of_statement(head: &[Lexeme]) -> Option<Place> {
    let first = head.first()?;
    let alone = head.len() == 1;
    let place = if first.is("SET") {
        match head.last().map(|last| &last.token) {
            _ if alone => Place::Setting,
            Some(Token::Eq) => name_before_equals(head).map_or(Place::Nothing, Place::SettingValue),
            _ => Place::Nothing,
        }
    } else if first.is("SHOW") {
        if alone {
            Place::Show
        } else if ends(head, &["SHOW", "CREATE"]) {
            Place::OneOf(&["TABLE", "VIEW"])
        } else if ends(head, &["SHOW", "CREATE", "TABLE"]) {
            Place::Declared("table")
        } else if ends(head, &["SHOW", "CREATE", "VIEW"]) {
            Place::Declared("view")
        } else if ends(head, &["SHOW", "COLUMNS"]) {
            Place::OneOf(&["FROM"])
        } else if head.len() == 3 {
            Place::Object
        } else {
            Place::Nothing
        }
    } else if first.is("RESET") && alone {
        Place::Setting
    } else if first.is("STOP") && alone {
        Place::OneOf(&["JOB"])
    } else if (first.is("STOP") || first.is("RESET")) && ends(head, &["JOB"]) {
        Place::Job
    } else if first.is("DESCRIBE") || first.is("DESC") {
        if alone { Place::Object } else { Place::Nothing }
    } else if first.is("DROP") {
        if alone {
            Place::OneOf(&["TABLE", "VIEW", "FUNCTION"])
        } else if head.len() == 2 || ends(head, &["EXISTS"]) {
            let kind = ["table", "view", "function"].into_iter().find(|kind| is_at(head, 1, kind));
            kind.map_or(Place::Nothing, Place::Declared)
        } else {
            Place::OneOf(&["IF EXISTS"])
        }
    } else if first.is("INSERT") && head.len() <= 2 {
        if alone { Place::OneOf(&["INTO"]) } else { Place::Declared("table") }
    } else if first.is("CREATE") && head.len() <= 3 && !head.iter().any(|it| MADE.iter().any(|made| it.is(made))) {
        match head.len() {
            1 => Place::OneOf(&["TABLE", "VIEW", "FUNCTION", "OR REPLACE TABLE", "OR REPLACE VIEW", "OR REPLACE FUNCTION"]),
            2 => Place::OneOf(&["REPLACE TABLE", "REPLACE VIEW", "REPLACE FUNCTION"]),
            _ => Place::OneOf(&["TABLE", "VIEW", "FUNCTION"]),
        }
    } else if first.is("CREATE") && MADE.iter().any(|made| ends(head, &[made])) {
        Place::OneOf(&["IF NOT EXISTS"])
    } else if first.is("CREATE") && makes_function(head) {
        // Behind the name a file follows, whose quote opens a place of its own.
        let named = head.last().is_some_and(|it| !it.is("FROM") && !it.is("IF") && !it.is("NOT") && !it.is("EXISTS"));
        let quoted = head.last().is_some_and(|it| matches!(it.token, Token::SingleQuotedString(_)));
        if named && !quoted { Place::OneOf(&["FROM"]) } else { Place::Nothing }
    } else if first.is("EXPLAIN") && head.iter().all(|it| it.is("EXPLAIN") || it.is("ANALYZE") || it.is("VERBOSE")) {
        Place::Explain { alone: !alone }
    } else if first.is("STOP") || first.is("RESET") {
        Place::Nothing
    } else {
        return None;
    };
    Some(place)
}

/// What CREATE makes.
const MADE: &[&str] = &["TABLE", "VIEW", "FUNCTION"];

/// Whether the bracket at `at` is the list of columns that an INSERT writes.
fn is_insert_list(head: &[Lexeme], at: usize) -> bool {
    at == 3 && is_at(head, 0, "INSERT") && is_at(head, 1, "INTO") && head.last().is_some_and(|it| it.token != Token::Period)
}

/// Whether the bracket at `at` is the list of a table's columns.
fn defines_columns(head: &[Lexeme], at: usize) -> bool {
    is_at(head, 0, "CREATE")
        && head[..at].iter().any(|it| it.is("TABLE"))
        && !head[..at].iter().any(|it| it.token == Token::LParen || it.is("AS") || it.is("WITH"))
}

fn in_definition(inside: &[Lexeme]) -> Place {
    let item = inside.rsplit(|it| it.token == Token::Comma).next().unwrap_or_default();
    match item.len() {
        0 => Place::OneOf(&["PRIMARY KEY (", "WATERMARK FOR"]),
        1 => Place::OneOf(words::TYPES),
        _ => Place::OneOf(words::DEFINITION),
    }
}

#[cfg(test)]
mod tests;
