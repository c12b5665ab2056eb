//! Names as people type them, and as the tables spell them.   `SELECT USERID FROM Events` ─► `SELECT "userId" FROM "events"`
//!
//! An unquoted name matches without regard to case; the spelling in the DDL is the one that counts, for it names the field in
//! the record. DataFusion's planner runs with normalization off and compares exactly, so before planning [`resolve`] puts the
//! DDL's spelling in the place of what was typed: tables, CTEs and their aliases, columns, fields of structs, aliases of
//! SELECT. What it found is quoted afterwards. A name that nothing matches, or that several spellings match, stays as typed,
//! and the planner says what it thinks of it. On the way every output gets its name ([`OutputNames`]).
//!
//! Scopes are a stack of frames, one per query (its CTEs) and one per SELECT (its FROM); a name is looked for from the inside
//! to the outside. Subqueries in FROM and CTEs are resolved before the query around them, which needs to know their columns.

mod frame;
mod name;
mod resolver;

use arrow::datatypes::Fields;
use sqlparser::ast::Query;

pub use self::name::{Name, Scope, TableUse, topic_table};
use self::resolver::Resolver;
use super::outputs::OutputNames;

/// What is known of a query once its names are resolved.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resolved {
    /// What its columns are called.
    pub names: OutputNames,
    /// The tables and views it reads, in order; one that is read twice is there twice. CTEs are not.
    pub tables: Vec<TableUse>,
}

/// Puts the spelling of the tables in the place of what was typed, and gives every output its name; `topic('t')` becomes the
/// table [`topic_table`] with alias `t`.
pub fn resolve(query: &mut Query, scope: &dyn Scope) -> Resolved {
    let (names, tables) = Resolver::run(query, scope);
    Resolved { names, tables }
}

/// The tables and views that a query reads, found without knowing any.
#[must_use]
pub fn tables_in(query: &Query) -> Vec<TableUse> {
    struct Nothing;
    impl Scope for Nothing {
        fn table(&self, _: &Name) -> Option<String> {
            None
        }
        fn columns(&self, _: &str) -> Option<Fields> {
            None
        }
    }
    resolve(&mut query.clone(), &Nothing).tables
}

#[cfg(test)]
mod tests;
