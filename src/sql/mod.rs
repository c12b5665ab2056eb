//! The language.   text ─► [`parse`] ─► [`Statement`]s ─► [`resolve`] (spelling of names) ─► DataFusion's planner
//!
//! Our dialect stands on sqlparser: queries are its AST, all other statements are ours. A text is parsed as a whole before
//! anything of it runs, so a mistake in the last statement is known before the first one has an effect. Planning and what a
//! running query may contain are in the modules beside this one's parser.
//! To add a statement: a variant in `statement.rs`, a line in `parse/mod.rs`. A table option or a setting is one line in
//! `options.rs` or `settings.rs`; a type is a line in each of the two functions of `types.rs`.

pub mod copy;
pub mod ddl;
pub mod definition;
pub mod dialect;
pub mod functions;
mod lint;
pub mod names;
pub mod options;
mod outputs;
pub mod params;
mod parse;
pub mod plan;
pub mod quote;
pub mod settings;
pub mod statement;
pub mod table;
pub mod text;
pub mod types;

pub use definition::{Column, MetadataColumn, TableDefinition, Watermark};
pub use dialect::VaticDialect;
pub use lint::lint;
pub use names::{Name, Resolved, Scope, TableUse, resolve, tables_in, topic_table};
pub use options::TableOptions;
pub use outputs::OutputNames;
pub use params::{Params, parameters_in};
pub use parse::{LISTS, STATEMENTS, parse, parse_query, parse_with};
pub use settings::Settings;
pub use statement::{Emit, Explaining, ObjectKind, Parsed, Show, Statement};
pub use text::{Meaning, Source, incomplete, part};
