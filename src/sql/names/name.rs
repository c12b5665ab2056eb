//! A name as typed, and where names are looked for.

use arrow::datatypes::Fields;
use sqlparser::ast::Ident;
use sqlparser::tokenizer::Span;

/// A name as typed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// Its text, without quotes.
    pub text: String,
    /// Whether it was quoted, so that only exactly this spelling is meant.
    pub exact: bool,
}

impl Name {
    /// A name that means exactly this spelling.
    pub fn exact(text: impl Into<String>) -> Self {
        Self { text: text.into(), exact: true }
    }
    /// A name typed without quotes.
    pub fn unquoted(text: impl Into<String>) -> Self {
        Self { text: text.into(), exact: false }
    }
    /// The one of `names` that is meant: spelled exactly so, or else the only one that differs in case alone.
    pub fn find<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let mut near: Option<&str> = None;
        let mut several = false;
        let lower = self.text.to_lowercase();
        for name in names {
            if name == self.text {
                return Some(name);
            }
            if !self.exact && name.to_lowercase() == lower {
                several |= near.is_some_and(|other| other != name);
                near = Some(name);
            }
        }
        near.filter(|_| !several)
    }
}

impl From<&Ident> for Name {
    fn from(ident: &Ident) -> Self {
        Self { text: ident.value.clone(), exact: ident.quote_style.is_some() }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What tables and views there are.
pub trait Scope {
    /// The table or view meant by `name`, as it is spelled.
    fn table(&self, name: &Name) -> Option<String>;
    /// The columns of the table or view spelled `table`, or of a topic's table ([`topic_table`]); `None` if they are not known.
    fn columns(&self, table: &str) -> Option<Fields>;
}

/// The name of the table that stands for `topic('name')` in a resolved query.
#[must_use]
pub fn topic_table(topic: &str) -> String {
    format!("topic('{topic}')")
}

/// A table that a query reads.
#[derive(Debug, Clone, PartialEq)]
pub struct TableUse {
    /// Its name as typed; for `topic('...')` that of [`topic_table`].
    pub name: Name,
    /// The topic of `topic('...')`.
    pub topic: Option<String>,
    /// Where it stands in the text.
    pub span: Span,
}
