//! Which names a function of the user's own cannot have.   name ─► built in, a word of SQL's, or free
//!
//! Whether a word is SQL's is asked of the parser: `cast(a)` is no call of a function, `distance(a)` is one. What has a meaning of its
//! own beside such calls, as in `extract(hour FROM ts)` or `FROM topic('t')`, is in [`SYNTAX`] and [`PLANNED`].

use datafusion::execution::SessionStateDefaults as Defaults;
use sqlparser::ast::{Expr, SelectItem, SetExpr};

use crate::sql::parse_query;

use super::FUNCTIONS;

/// Words that the parser reads with a syntax of their own, and else as functions.
const SYNTAX: &[&str] = &[
    "all",
    "any",
    "array",
    "case",
    "cast",
    "ceil",
    "convert",
    "exists",
    "extract",
    "floor",
    "from",
    "interval",
    "map",
    "match",
    "not",
    "overlay",
    "position",
    "safe_cast",
    "select",
    "some",
    "struct",
    "substr",
    "substring",
    "trim",
    "try_cast",
    "try_convert",
    "where",
];

/// Names that the planner, or the resolver of names, looks for before it looks for functions.
const PLANNED: &[&str] = &["topic", "unnest", "grouping"];

/// Why a name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// There is such a function.
    BuiltIn,
    /// It is a word of SQL's.
    Word,
}

impl Taken {
    /// `name`, which is taken, in words.
    #[must_use]
    pub fn text(self, name: &str) -> String {
        match self {
            Self::BuiltIn => format!("function \"{name}\" is built in"),
            Self::Word => format!("no function can be called \"{name}\": the word has a meaning in SQL"),
        }
    }
}

/// Whether a function called `name`, in lower case, would hide another, or could not be called.
#[must_use]
pub fn taken(name: &str) -> Option<Taken> {
    let is = |known: &str, aliases: &[String]| known == name || aliases.iter().any(|alias| alias == name);
    let built_in = FUNCTIONS.iter().any(|function| function.name == name)
        || PLANNED.contains(&name)
        || Defaults::default_scalar_functions().iter().any(|f| is(f.name(), f.aliases()))
        || Defaults::default_higher_order_functions().iter().any(|f| is(f.name(), f.aliases()))
        || Defaults::default_aggregate_functions().iter().any(|f| is(f.name(), f.aliases()))
        || Defaults::default_window_functions().iter().any(|f| is(f.name(), f.aliases()))
        || Defaults::default_table_functions().iter().any(|f| f.name() == name);
    if built_in {
        return Some(Taken::BuiltIn);
    }
    (SYNTAX.contains(&name) || !is_called(name)).then_some(Taken::Word)
}

/// Whether `name(a)` is an ordinary call; a name that is no word is called in double quotes.
fn is_called(name: &str) -> bool {
    let word =
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    let typed = if word { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) };
    let Ok(query) = parse_query(&format!("SELECT {typed}(a)")) else { return false };
    let SetExpr::Select(select) = *query.body else { return false };
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(Expr::Function(call))] => {
            matches!(call.name.0.as_slice(), [part] if part.as_ident().is_some_and(|ident| ident.value == name))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sql_has_a_meaning_for_is_taken() {
        for name in ["abs", "score", "predict", "classify", "topic", "unnest", "grouping", "sum", "lag", "now", "date_part"]
        {
            assert_eq!(taken(name), Some(Taken::BuiltIn), "{name}");
        }
        for name in ["cast", "try_cast", "extract", "case", "exists", "not", "interval", "select", "from", "array"] {
            assert_eq!(taken(name), Some(Taken::Word), "{name}");
        }
        // The parser reads some with their own syntax, and DataFusion has a function of the name besides.
        for name in ["position", "trim", "substring", "overlay", "ceil", "floor", "struct"] {
            assert!(taken(name).is_some(), "{name}");
        }
        for name in
            ["distance", "haversine", "risk_of", "my fn", "name", "value", "key", "level", "plus", "minus", "f", "_x9"]
        {
            assert_eq!(taken(name), None, "{name}");
        }
    }
}
