//! DataFusion's errors in our words.   `Schema error: No field named amout. ...` ─► `no column "amout"`, hint, place
//!
//! What people meet most (names, types, functions, casts) is said anew; everything else keeps its words, without the names of
//! DataFusion's error classes, in lower case, and with the types called as in SQL. Ours come back as they went in.
//! To say another text anew: an arm in [`planned`] or [`computed`].

use std::sync::Arc;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use sqlparser::tokenizer::{Location, Span};

use super::{Error, did_you_mean, nearest};

const SHOW_FUNCTIONS: &str = "SHOW FUNCTIONS; lists all.";

/// Functions that are nothing without OVER.
const WINDOW_FUNCTIONS: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// Functions of other databases, and what is written here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("if iif", "Write CASE WHEN condition THEN a ELSE b END."),
    ("isnull", "Write x IS NULL, or coalesce(x, y) for a value in the place of NULL."),
    ("len", "Write length(text)."),
    ("date_add dateadd date_sub timestampadd adddate", "Add an interval: ts + INTERVAL '1 day'."),
    ("datediff date_diff timestampdiff", "Subtract one from the other: ts - other."),
    ("getdate sysdate localtimestamp systimestamp", "Write now()."),
    ("group_concat listagg", "Write string_agg(text, ',')."),
    (
        "json_value json_extract json_query get_json_object",
        "Declare the field as a column of the table; one in an object is read as object.field.",
    ),
    ("ml_predict ai_predict", "Write score('model', feature, ...)."),
    ("tumble hop cumulate session time_bucket", "Group by date_bin(INTERVAL '1 minute', ts) in a plain SELECT, which ends."),
];

/// Operators of other databases that are read and cannot be planned: sqlparser's name, the sign, and what is written here.
const OPERATORS: &[(&str, &str, &str)] = &[
    ("PGOverlap", "&&", "Write AND between conditions; for arrays, array_has_any(a, b)."),
    ("PGStartsWith", "^@", "Write starts_with(text, 'prefix')."),
    ("Regexp", "REGEXP", "Write text ~ 'pattern'."),
    ("Match", "MATCH", "Write text ~ 'pattern'."),
    ("Overlaps", "OVERLAPS", "Compare the begins with the ends: a.begin < b.end AND b.begin < a.end."),
    ("Assignment", ":=", "Write = to compare."),
];

/// DataFusion's error as ours.
pub(super) fn translate(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::internal(other.to_string()).source(other),
        },
        DataFusionError::Diagnostic(diagnostic, inner) => match diagnostic.span {
            Some(span) => translate(*inner).spanned(Span::new(
                Location::new(span.start.line, span.start.column),
                Location::new(span.end.line, span.end.column),
            )),
            None => translate(*inner),
        },
        DataFusionError::Context(_, inner) => translate(*inner),
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => translate(first),
            None => Error::internal("an error without a text"),
        },
        DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
            Ok(inner) => translate(inner),
            Err(shared) => shared_by_several(&shared),
        },
        DataFusionError::IoError(e) => Error::external(e.to_string()).source(e),
        DataFusionError::ObjectStore(e) => Error::external(e.to_string()).source(e),
        DataFusionError::ResourcesExhausted(text) => Error::user(text),
        DataFusionError::Internal(text) => Error::internal(text),
        DataFusionError::SchemaError(error, _) => schema(&error),
        DataFusionError::Plan(text) | DataFusionError::NotImplemented(text) => planned(&text),
        DataFusionError::ArrowError(error, _) => match *error {
            arrow::error::ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => translate(*inner),
                Err(inner) => translate(DataFusionError::External(inner)),
            },
            other => computed(&other.to_string()),
        },
        DataFusionError::Execution(text) => computed(&text),
        other => planned(&other.strip_backtrace()),
    }
}

/// An error seen by several readers can only be looked at, not taken apart.
fn shared_by_several(error: &DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(ours) => ours.clone(),
            None => Error::internal(inner.to_string()),
        },
        DataFusionError::SchemaError(error, _) => schema(error),
        DataFusionError::Plan(text) | DataFusionError::NotImplemented(text) => planned(text),
        other => computed(&other.strip_backtrace()),
    }
}

/// A name that no column has, or several.
fn schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let tables = || valid_fields.iter().filter_map(|f| f.relation.as_ref()).map(|r| r.table().to_owned());
            if let Some(table) = field.relation.as_ref().map(|r| r.table().to_owned())
                && !tables().any(|known| known == table)
            {
                let error = Error::user(format!("no table \"{table}\" in FROM"));
                let mut known: Vec<String> = tables().collect();
                known.dedup();
                return hinted(error, did_you_mean(&table, "tables", known.iter().map(String::as_str)));
            }
            let of_table = |f: &&datafusion::common::Column| field.relation.is_none() || f.relation == field.relation;
            let mut known: Vec<&str> = Vec::new();
            for column in valid_fields.iter().filter(of_table) {
                if !known.contains(&column.name()) {
                    known.push(column.name());
                }
            }
            let place = field.relation.as_ref().map_or(String::new(), |r| format!(" in \"{}\"", r.table()));
            let error = Error::user(format!("no column \"{}\"{place}", field.name));
            hinted(error, did_you_mean(&field.name, "columns", known))
        }
        SchemaError::AmbiguousReference { field } => Error::user(format!("column \"{}\" is ambiguous", field.name))
            .hint(format!("Write its table before it: t.{}.", field.name)),
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::user(format!("two columns are called \"{name}\"")).hint("Give one of them another name with AS.")
        }
    }
}

/// What is wrong with a query as written.
fn planned(text: &str) -> Error {
    let text = strip(text);
    if let Some(name) = between(text, "Invalid function '", "'") {
        if let Some((_, hint)) = ELSEWHERE.iter().find(|(names, _)| names.split(' ').any(|n| n.eq_ignore_ascii_case(name))) {
            return Error::user(format!("no function \"{name}\"")).hint(*hint);
        }
        if WINDOW_FUNCTIONS.contains(&name.to_lowercase().as_str()) {
            let hint = format!("Write {name}(...) OVER (ORDER BY column).");
            return Error::user(format!("function \"{name}\" needs OVER")).hint(hint);
        }
        let error = Error::user(format!("no function \"{name}\""));
        let near = between(text, "Did you mean '", "'").filter(|near| nearest(name, [*near]).is_some());
        return error.hint(near.map_or(SHOW_FUNCTIONS.to_owned(), |near| format!("Did you mean \"{near}\"?")));
    }
    if let Some(name) = between(text, "table function '", "' not found") {
        let hint = "Write topic('name') to read a topic that has no table.";
        return if name.eq_ignore_ascii_case("topic") {
            Error::user("topic() takes the name of a topic").hint(hint)
        } else {
            Error::user(format!("no table function \"{name}\"")).hint(hint)
        };
    }
    if let Some(call) = between(text, "given name and argument types '", "'") {
        let (name, types) = call.split_once('(').unwrap_or((call, ")"));
        let types = sql_types(types.trim_end_matches(')'));
        let error = if types.is_empty() {
            Error::user(format!("function \"{name}\" needs arguments"))
        } else {
            Error::user(format!("function \"{name}\" does not take ({types})"))
        };
        let takes: Vec<String> = text
            .split_once("Candidate functions:")
            .map_or("", |(_, list)| list)
            .lines()
            .map(|line| signature(line.trim()))
            .filter(|line| !line.is_empty())
            .collect();
        return if takes.is_empty() {
            error.hint("Write CAST(... AS TYPE) around an argument.")
        } else {
            error.hint(format!("It takes {}. Write CAST(... AS TYPE) around an argument.", takes.join(" or ")))
        };
    }
    if let Some(name) = between(text, "Unsupported binary operator: ", "\n") {
        let sign = OPERATORS.iter().find(|(known, ..)| *known == name);
        let error = Error::user(format!("operator {} is not supported", sign.map_or(name, |(_, sign, _)| sign)));
        return sign.map_or(error.clone(), |(_, _, hint)| error.hint(*hint));
    }
    if let Some(types) = between(text, "There isn't a common type to coerce ", " expression")
        && let Some((types, operator)) = types.rsplit_once(" in ")
        && let Some((left, right)) = types.split_once(" and ")
    {
        let (left, right) = (sql_types(left), sql_types(right));
        let wrong = if left == "VARCHAR" { right } else { left };
        return Error::user(format!("{operator} takes texts, not {wrong}")).hint("Write CAST(... AS VARCHAR) around it.");
    }
    if let Some(name) = between(text, "Field ", " not found in struct") {
        return Error::user(format!("no field \"{name}\" in the struct"));
    }
    if let Some(found) = between(text, "Cannot access field at argument 1: type ", " is not Struct") {
        return Error::user(format!("a field is read from {}, which has none", sql_types(found)))
            .hint("Fields are those of STRUCT and MAP; an element of an ARRAY is read by its number: a[1].");
    }
    if let Some(given) = between(text, "Source table contains ", " columns")
        && let Some(names) = between(text, "but only ", " names")
    {
        return Error::user(format!("the list has {names} names, the query {given} columns"))
            .hint("Give each column one name.");
    }
    if text.contains("OuterReferenceColumn") {
        return Error::user("a subquery in FROM cannot read columns of the tables beside it")
            .hint("Write it as a join; for UNNEST, write unnest(column) in the SELECT list.");
    }
    if let Some(column) = between(text, "column \"", "\" must appear in the GROUP BY")
        .or_else(|| between(text, "Column in ORDER BY must be in GROUP BY or an aggregate function: ", "\n"))
    {
        let column = column.rsplit('.').next().unwrap_or(column);
        return Error::user(format!("column \"{column}\" is neither in GROUP BY nor in an aggregate function"))
            .hint("Add it to GROUP BY, or write min(), max() or another aggregate around it.");
    }
    if let Some(rest) = text.strip_prefix("Cannot coerce arithmetic expression ")
        && let Some(types) = rest.strip_suffix(" to valid types")
    {
        let types = sql_types(types);
        let time = types.contains("TIMESTAMP") || types.contains("DATE");
        let hint = if time && (types.contains("INT") || types.contains("DOUBLE")) {
            "Write a length of time: INTERVAL '5 seconds'."
        } else {
            "Write CAST(... AS TYPE) around one side."
        };
        return Error::user(format!("there is no {types}")).hint(hint);
    }
    if text.starts_with("Aggregate functions are not allowed in the WHERE clause") {
        return Error::user("WHERE cannot hold an aggregate function")
            .hint("Write the condition behind GROUP BY, as HAVING.");
    }
    if text.starts_with("COUNT DISTINCT with multiple arguments") {
        return Error::user("count(DISTINCT ...) takes one column")
            .hint("Count the rows of a subquery: SELECT count(*) FROM (SELECT DISTINCT a, b FROM t).");
    }
    if let Some(expr) = between(text, "non-boolean predicate '", "' returning ")
        && let Some((_, found)) = text.rsplit_once("' returning ")
    {
        let found = sql_types(found);
        return Error::user(format!("a condition is {found}, not BOOLEAN: {}", sql_types(expr)))
            .hint("Compare it with a value: column = value.");
    }
    if let Some(wanted) = between(text, "Order by column out of bounds, specified: ", ",")
        && let Some((_, most)) = text.rsplit_once("max: ")
    {
        let s = if most == "1" { "" } else { "s" };
        return Error::user(format!("ORDER BY {wanted} names a column by its number, and the query has {most} column{s}"))
            .hint("Write the column's name.");
    }
    for clause in ["LIMIT", "OFFSET"] {
        let hint = || format!("Write a whole number: {clause} 10, for example.");
        if let Some(found) = between(text, &format!("Expected {clause} to be an integer or null, but got "), "\n") {
            return Error::user(format!("{clause} is {}, not a whole number", sql_types(found))).hint(hint());
        }
        if text.starts_with(&format!("{clause} must be >=")) {
            let given = between(text, "'", "'").unwrap_or_default();
            return Error::user(format!("{clause} is below 0: {given}")).hint(hint());
        }
        if text.starts_with(&format!("Unsupported {clause} expression")) {
            return Error::user(format!("{clause} is no number")).hint(hint());
        }
    }
    if text.starts_with("UNION queries have different number of columns") {
        return Error::user("the queries of a UNION have different numbers of columns")
            .hint("Give both the same columns; write NULL AS name where one has none.");
    }
    if let Some(column) = between(text, "HAVING clause references: ", " must appear in the GROUP BY") {
        return Error::user(format!("HAVING reads {}, which is neither in GROUP BY nor an aggregate", sql_types(column)))
            .hint("Write the condition into WHERE.");
    }
    if let Some(table) = text.strip_prefix("Invalid qualifier ") {
        return Error::user(format!("no table \"{table}\" in FROM"));
    }
    if let Some(table) = between(text, "table '", "' not found") {
        let table = table.strip_prefix("datafusion.").unwrap_or(table);
        return Error::user(format!("no table \"{table}\""))
            .hint("Write a name of one part: a session's tables have no schema.");
    }
    if text.starts_with("Too many columns!") {
        return Error::user("a subquery that is a value gives several columns").hint("Leave one column in its SELECT.");
    }
    if text.contains("all field_name arguments to be scalars") {
        return Error::user("a field or key is not a constant").hint("For a MAP, write map_extract(map, key)[1].");
    }
    if let Some(rest) = text.strip_prefix("Unsupported ast node ") {
        let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        return Error::user(format!("{} is not available", name.to_uppercase()));
    }
    if let Some(types) = between(text, "Cannot infer common argument type for comparison operation ", "\n") {
        return Error::user(format!("there is no {}", sql_types(types))).hint("Write CAST(... AS TYPE) around one side.");
    }
    in_lines(text, Error::user)
}

/// What a value made impossible.
fn computed(text: &str) -> Error {
    let text = strip(text);
    const TRY: &str = "Write TRY_CAST for NULL in its place.";
    if let Some(value) = between(text, "Cannot cast string '", "' to value of ")
        && let Some(wanted) = between(text, "' to value of ", " type")
    {
        return Error::data(format!("'{value}' is not {}", article(&sql_types(wanted)))).hint(TRY);
    }
    if let Some(value) = between(text, "Can't cast value ", " to type ")
        && let Some((_, wanted)) = text.split_once(" to type ")
    {
        return Error::data(format!("{value} does not fit {}", sql_types(wanted))).hint(TRY);
    }
    if let Some(value) = between(text, "Error parsing timestamp from '", "'") {
        return Error::data(format!("'{value}' is not a TIMESTAMP")).hint(TRY);
    }
    if text.eq_ignore_ascii_case("divide by zero error") || text.eq_ignore_ascii_case("divide by zero") {
        return Error::data("division by zero").hint("Write nullif(divisor, 0) for NULL in its place.");
    }
    if let Some(parameter) = between(text, "Placeholder '", "' was not provided") {
        let error = Error::user(format!("parameter \"{parameter}\" has no value"));
        return error.hint(match parameter.strip_prefix(':') {
            Some(name) if !name.is_empty() => {
                format!("Write ${name}, and give it a value: --param {name}=VALUE, or \\set {name} VALUE in the shell")
            }
            _ => "Write the value in its place.".to_owned(),
        });
    }
    if let Some((_, reason)) = text.rsplit_once("error: ").filter(|_| text.contains("regex parse error")) {
        let reason = reason.lines().next().unwrap_or_default();
        return Error::data(format!("the regular expression cannot be read: {reason}"));
    }
    if text.starts_with("Field ") || text.contains("all field_name arguments") || text.starts_with("Cannot access field") {
        return planned(text);
    }
    in_lines(text, Error::data)
}

/// A signature with its types called as in SQL: `upper(String)` is `upper(VARCHAR)`.
fn signature(line: &str) -> String {
    let line = sql_types(line);
    let Some((name, arguments)) = line.split_once('(') else { return line };
    let mut out = format!("{name}(");
    let mut rest = arguments;
    while let Some(first) = rest.chars().next() {
        let word: &str = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        if word.is_empty() {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        rest = &rest[word.len()..];
        let said = match word {
            "String" => "VARCHAR",
            "Numeric" => "number",
            "Integer" => "BIGINT",
            "Float" => "DOUBLE",
            "Decimal" => "DECIMAL",
            "Timestamp" => "TIMESTAMP",
            "Interval" => "INTERVAL",
            "Date" => "DATE",
            "Any" => "any type",
            "Comparable" => "comparable",
            other => other,
        };
        // `String(2)` stands for two of them.
        let count = rest.strip_prefix('(').and_then(|r| r.split_once(')')).map(|(count, behind)| (count.parse(), behind));
        match count {
            Some((Ok(count), behind)) if said != word => {
                out.push_str(&vec![said; count].join(", "));
                rest = behind;
            }
            _ => out.push_str(said),
        }
    }
    out
}

fn article(name: &str) -> String {
    let vowel = name.starts_with(['A', 'E', 'I', 'O', 'U']);
    format!("{} {name}", if vowel { "an" } else { "a" })
}

fn hinted(error: Error, hint: Option<String>) -> Error {
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The first line is the text; what follows tells what to do, as far as it does.
fn in_lines(text: &str, make: impl Fn(String) -> Error) -> Error {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let error = make(lower_first(&sql_types(without_insides(first).trim().trim_end_matches('.'))));
    let rest: Vec<&str> = rest.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if rest.is_empty() { error } else { error.hint(sql_types(&rest.join(" "))) }
}

/// `text` up to where it prints a data structure: `must be an INTEGER, got Column(Column { ...`.
fn without_insides(text: &str) -> &str {
    let Some(brace) = text.find(" { ") else { return text };
    let before = &text[..brace];
    let cut = before.rfind(char::is_whitespace).map_or("", |at| &before[..at]);
    let cut = cut.trim_end_matches(" got").trim_end_matches([',', ':', ' ']);
    if cut.is_empty() { "the query cannot be planned" } else { cut }
}

/// What stands between the first `start` and the `end` behind it, or the end of the text for a line's end.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = &text[text.find(start)? + start.len()..];
    match rest.find(end) {
        Some(at) => Some(&rest[..at]),
        None => (end == "\n").then_some(rest),
    }
}

/// The text without the class names that libraries put before it.
fn strip(text: &str) -> &str {
    let known = [
        "Error during planning: ",
        "SQL error: ",
        "Schema error: ",
        "Arrow error: ",
        "Cast error: ",
        "Execution error: ",
        "External error: ",
        "This feature is not implemented: ",
        "Invalid argument error: ",
        "Compute error: ",
        "Parser error: ",
        "Optimizer rule 'simplify_expressions' failed",
        "caused by",
    ];
    let mut text = text.trim();
    while let Some(rest) = known.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest.trim_start();
    }
    text
}

/// "Unexpected ..." becomes lower case, "CAST ..." and "TIMESTAMP" stay.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

/// `text` with Arrow's types called as in SQL, and constants written as there: `Int64(1)` is `1`.
#[must_use]
pub fn sql_types(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_word = false;
    while let Some(first) = rest.chars().next() {
        if !in_word && let Some((name, length)) = type_at(rest) {
            out.push_str(&name);
            rest = &rest[length..];
            in_word = true;
            continue;
        }
        in_word = first.is_alphanumeric() || first == '_';
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    out
}

/// The type that `text` begins with, in SQL, and the bytes it takes.
fn type_at(text: &str) -> Option<(String, usize)> {
    let word = text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let simple = match word {
        "Int8" => "TINYINT",
        "Int16" => "SMALLINT",
        "Int32" => "INT",
        "Int64" => "BIGINT",
        "UInt8" | "UInt16" | "UInt32" | "UInt64" => "BIGINT UNSIGNED",
        "Float32" => "REAL",
        "Float64" => "DOUBLE",
        "Boolean" => "BOOLEAN",
        "Utf8" | "LargeUtf8" | "Utf8View" => "VARCHAR",
        "Binary" | "LargeBinary" | "BinaryView" => "BYTEA",
        "Date32" | "Date64" => "DATE",
        _ => "",
    };
    if !simple.is_empty() {
        // A constant in a plan: `Int64(1)`.
        if let Some(value) = text.strip_prefix(word).and_then(|rest| rest.strip_prefix('('))
            && let Some(end) = closing(value)
        {
            let constant = &value[..end];
            let constant = match constant.strip_prefix('"').and_then(|c| c.strip_suffix('"')) {
                Some(text) => format!("'{text}'"),
                None => constant.to_owned(),
            };
            return Some((constant, word.len() + end + 2));
        }
        return Some((simple.to_owned(), word.len()));
    }
    let inside = text.strip_prefix(word)?.strip_prefix('(')?;
    let end = closing(inside)?;
    let (inside, length) = (&inside[..end], word.len() + end + 2);
    let name = match word {
        "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => format!("DECIMAL({inside})"),
        "Timestamp" => {
            let unit = inside.split(',').next().unwrap_or_default().trim();
            let digits = match unit {
                "s" | "Second" => "0",
                "ms" | "Millisecond" => "3",
                "ns" | "Nanosecond" => "9",
                _ => "6",
            };
            let zone = if inside.contains('"') { " WITH TIME ZONE" } else { "" };
            format!("TIMESTAMP({digits}){zone}")
        }
        "Interval" => "INTERVAL".to_owned(),
        "List" | "LargeList" | "ListView" => format!("ARRAY<{}>", sql_types(inside.trim_start_matches("non-null "))),
        "Struct" => format!("STRUCT<{}>", sql_types(&inside.replace("\": ", " ").replace('"', ""))),
        "Map" => "MAP".to_owned(),
        _ => return None,
    };
    Some((name, length))
}

/// Where the bracket closes that is open at the begin.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1usize;
    text.char_indices().find_map(|(at, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_called_as_in_sql() {
        for (arrow, sql) in [
            ("Int64 + Utf8", "BIGINT + VARCHAR"),
            ("List(Struct(\"sku\": Utf8, \"n\": Int32))", "ARRAY<STRUCT<sku VARCHAR, n INT>>"),
            ("Timestamp(ms, \"UTC\") = Timestamp(ns)", "TIMESTAMP(3) WITH TIME ZONE = TIMESTAMP(9)"),
            ("Decimal128(5, 2)", "DECIMAL(5, 2)"),
            ("t.id > Int64(1) AND b = Utf8(\"x\")", "t.id > 1 AND b = 'x'"),
            ("myInt64 Int64x", "myInt64 Int64x"),
            ("List(", "List("),
        ] {
            assert_eq!(sql_types(arrow), sql);
        }
    }

    #[test]
    fn common_texts_are_said_anew() {
        for (text, message, hint) in [
            ("Invalid function 'uper'.\nDid you mean 'upper'?", "no function \"uper\"", "Did you mean \"upper\"?"),
            ("Invalid function 'frobnicate'.\nDid you mean 'corr'?", "no function \"frobnicate\"", SHOW_FUNCTIONS),
            (
                "Cannot coerce arithmetic expression Utf8 + Boolean to valid types",
                "there is no VARCHAR + BOOLEAN",
                "Write CAST(... AS TYPE) around one side.",
            ),
            (
                "Unsupported binary operator: PGOverlap",
                "operator && is not supported",
                "Write AND between conditions; for arrays, array_has_any(a, b).",
            ),
            (
                "There isn't a common type to coerce Int64 and Utf8 in LIKE expression",
                "LIKE takes texts, not BIGINT",
                "Write CAST(... AS VARCHAR) around it.",
            ),
        ] {
            let error = translate(DataFusionError::Plan(text.to_owned()));
            assert_eq!((error.message(), error.get_hint()), (message, Some(hint)));
        }
        assert_eq!(signature("upper(String)"), "upper(VARCHAR)");
        assert_eq!(signature("strpos(String(2))"), "strpos(VARCHAR, VARCHAR)");
        assert_eq!(signature("f(Int64, Any, x: Numeric(1))"), "f(BIGINT, any type, x: number)");
        let text = "Argument #2 must be an INTEGER, got Column(Column { relation: None, name: \"s\" })";
        let error = translate(DataFusionError::Plan(text.to_owned()));
        assert_eq!(error.message(), "argument #2 must be an INTEGER");
        let error = translate(DataFusionError::Execution("Something odd.".to_owned()));
        assert_eq!(error.message(), "something odd");
    }
}
