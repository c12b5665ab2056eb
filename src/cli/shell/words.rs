//! The words of our SQL, for highlighting and completion.
//!
//! Only those that a statement here can contain: sqlparser knows some thousand, of which most would be wrong. A phrase is
//! completed as a whole. To add one: a line in the list of the place where it may stand.

/// How statements begin.
pub(super) const STATEMENTS: &[(&str, &str)] = &[
    ("SELECT", "answers and ends; with EMIT CHANGES it follows"),
    ("CREATE TABLE", "names a topic, a file or a generator; with AS SELECT a job"),
    ("CREATE OR REPLACE TABLE", "the same, in place of a table of that name"),
    ("CREATE VIEW", "names a query"),
    ("CREATE FUNCTION", "loads a function written for Arroyo: CREATE FUNCTION f FROM 'path'"),
    ("CREATE OR REPLACE FUNCTION", "the same for a name that is there; running jobs take it"),
    ("INSERT INTO", "a job that writes what a query gives; VALUES writes and ends"),
    ("COPY", "writes what a query gives to a file: COPY (SELECT ...) TO 'file.parquet'"),
    ("SHOW", "tables, topics, models, jobs, functions, settings"),
    ("DESCRIBE", "the columns of a table"),
    ("EXPLAIN", "what a statement would do"),
    EXPLAIN_ANALYZE,
    ("SET", "changes a setting"),
    ("RESET", "gives a setting its default again"),
    ("STOP JOB", "stops a job after its epoch"),
    ("RESET JOB", "forgets the offsets of a stopped job"),
    ("DROP TABLE", "forgets a table; its topic stays"),
    ("DROP VIEW", "forgets a view"),
    ("DROP FUNCTION", "forgets a function; a job that calls it keeps it"),
    ("WITH", "a query with named parts"),
    ("VALUES", "rows as typed"),
];

const EXPLAIN_ANALYZE: (&str, &str) = ("EXPLAIN ANALYZE", "runs a query and shows what each step did");

/// What EXPLAIN takes before a statement.
pub(super) const EXPLAIN: &[(&str, &str)] = &[
    ("ANALYZE", EXPLAIN_ANALYZE.1),
    ("VERBOSE", "also what DataFusion plans"),
    ("(FORMAT JSON)", "the same as JSON, for programs"),
];

/// The statements that EXPLAIN explains.
pub(super) const EXPLAINED: &[&str] = &["SELECT", "WITH", "INSERT INTO", "CREATE TABLE", "VALUES"];

/// What else people ask `\\h` for.
pub(super) const MORE_HELP: [(&str, &str); 3] = [
    ("SELECT ... EMIT CHANGES", "follows new rows until Ctrl-C or LIMIT"),
    ("INSERT INTO t VALUES (...)", "writes these rows and ends"),
    ("CREATE TABLE t WITH (topic = 'x') AS SELECT ...", "a job that writes to topic x"),
];

/// What goes on behind a value, a name or a clause.
pub(super) const CLAUSES: &[&str] = &[
    "FROM",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "OFFSET",
    "EMIT CHANGES",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "LIKE",
    "ILIKE",
    "BETWEEN",
    "IS NULL",
    "IS NOT NULL",
    "ASC",
    "DESC",
    "NULLS FIRST",
    "NULLS LAST",
    "JOIN",
    "INNER JOIN",
    "LEFT JOIN",
    "RIGHT JOIN",
    "FULL JOIN",
    "CROSS JOIN",
    "ON",
    "USING",
    "UNION ALL",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "WITH",
    "VALUES",
    "SELECT",
    "THEN",
    "ELSE",
    "END",
    "WHEN",
    "OVER",
    "PARTITION BY",
    "FILTER",
    "EXCLUDE",
    "IF EXISTS",
    "IF NOT EXISTS",
    "INTO",
];

/// What a value may begin with, beside columns and functions.
pub(super) const OPERANDS: &[&str] =
    &["CASE", "CAST", "NOT", "NULL", "TRUE", "FALSE", "DISTINCT", "INTERVAL", "EXISTS", "ALL", "WHEN", "SELECT"];

/// Behind these a value begins, and columns and functions are what is wanted.
pub(super) const BEFORE_OPERANDS: &[&str] = &[
    "SELECT", "WHERE", "AND", "OR", "NOT", "ON", "BY", "HAVING", "CASE", "WHEN", "THEN", "ELSE", "IN", "LIKE", "ILIKE",
    "BETWEEN", "DISTINCT", "LIMIT", "OFFSET", "USING", "VALUES", "EXCLUDE",
];

/// What SHOW takes, beside the names of settings.
pub(super) const SHOW: &[(&str, &str)] = &[
    ("TABLES", "tables and views of this session"),
    ("VIEWS", "views with their queries"),
    ("TOPICS", "topics of the broker with their records"),
    ("MODELS", "models with their versions"),
    ("JOBS", "jobs of this session"),
    ("FUNCTIONS", "functions with their signatures"),
    ("FORMATS", "formats with their options"),
    ("CONNECTORS", "connectors with their options"),
    ("ALL", "settings with their values"),
    ("COLUMNS FROM", "the columns of a table"),
    ("CREATE TABLE", "a table as the statement that makes it"),
    ("CREATE VIEW", "a view as the statement that makes it"),
];

/// The types of columns.
pub(super) const TYPES: &[&str] = &[
    "BIGINT",
    "INT",
    "SMALLINT",
    "TINYINT",
    "DOUBLE",
    "FLOAT",
    "DECIMAL(10, 2)",
    "VARCHAR",
    "BOOLEAN",
    "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE",
    "DATE",
    "TIME",
    "BYTEA",
    "ARRAY<",
    "STRUCT<",
    "MAP<",
];

/// What may stand in the list of a table's columns beside names and types.
pub(super) const DEFINITION: &[&str] = &["NOT NULL", "METADATA", "METADATA FROM", "PRIMARY KEY (", "WATERMARK FOR"];

/// Words that stand in no list above and are none the less words of SQL.
const OTHERS: &[&str] = &[
    "COLUMN",
    "COLUMNS",
    "TABLE",
    "VIEW",
    "FUNCTION",
    "JOB",
    "EXISTS",
    "REPLACE",
    "METADATA",
    "PRIMARY KEY",
    "WATERMARK FOR",
    "ANALYZE",
];

/// Whether `word` is drawn as a word of SQL.
pub(super) fn is_keyword(word: &str) -> bool {
    let phrases = STATEMENTS.iter().map(|(phrase, _)| *phrase).chain(SHOW.iter().map(|(phrase, _)| *phrase));
    let phrases = phrases.chain(CLAUSES.iter().chain(OPERANDS).chain(BEFORE_OPERANDS).chain(TYPES).chain(OTHERS).copied());
    phrases.flat_map(|phrase| phrase.split([' ', '(', '<'])).any(|own| own.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_columns_are_not_drawn_as_words_of_sql() {
        for word in ["select", "EMIT", "changes", "Order", "BIGINT", "watermark"] {
            assert!(is_keyword(word), "{word}");
        }
        for name in ["name", "version", "offset_1", "payments", "value", "topic", ""] {
            assert!(!is_keyword(name) || name.is_empty(), "{name}");
        }
    }
}
