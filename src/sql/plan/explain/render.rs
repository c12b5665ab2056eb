//! Expressions of a physical plan as SQL.   expression + [`Scope`] (what its columns are called) ─► `b LIKE 'x%' AND id > 3`
//!
//! A plan knows a column by its place; what people call it is carried beside the plan, as [`Title`]s, one per column. Each kind
//! of expression has its arm here: cutting at DataFusion's own text would take quotes and an `@` for its punctuation.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::DataType;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::async_scalar_function::AsyncFuncExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LambdaExpr, LambdaVariable, LikeExpr,
    Literal, NegativeExpr, NotExpr, TryCastExpr,
};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::{HigherOrderFunctionExpr, PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::physical_expr::fmt_sql;
use datafusion::scalar::ScalarValue;

use crate::error::sql_types;
use crate::sql::quote::{quote_name, quote_text};
use crate::sql::types::sql_type;

/// How tightly an expression holds together: as the operators' precedences, and more for what needs no parentheses.
type Strength = u8;
const NOT: Strength = 12;
/// `LIKE`, `IN`, `IS NULL`.
const PREDICATE: Strength = 25;
const NEGATIVE: Strength = 50;
const WHOLE: Strength = u8::MAX;

/// What people call a column of a plan.
#[derive(Debug, Clone)]
pub struct Title {
    /// Its name in the plan.
    pub name: String,
    /// The table it comes from, under the name that the query gives it; `None` for what was computed.
    pub table: Option<Arc<str>>,
    /// As short as it can be said.
    pub text: String,
    /// With the tables of its columns.
    pub full: String,
    /// What it was made of, where it was given its name.
    pub made_of: Option<String>,
    strength: Strength,
}

impl Title {
    /// A column of a table, or one whose table is not known.
    pub fn column(name: &str, table: Option<Arc<str>>) -> Self {
        let full = table.as_ref().map_or_else(|| name.to_owned(), |table| format!("{table}.{name}"));
        Self { name: name.to_owned(), table, text: name.to_owned(), full, made_of: None, strength: WHOLE }
    }
    /// The same under a name that people gave it; what is no column of a table any more has no table.
    pub fn renamed(self, name: &str) -> Self {
        Self { made_of: Some(self.text), ..Self::column(name, self.table) }
    }
    /// The same column, where the plan calls it `name`.
    pub fn known_as(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }
    /// A call, or another text that needs no parentheses.
    pub fn whole(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), table: None, full: text.clone(), text, made_of: None, strength: WHOLE }
    }
    /// What `expr` computes, in `scope`.
    pub fn of(name: &str, expr: &Arc<dyn PhysicalExpr>, scope: &Scope) -> Self {
        if let Some(title) = expr.downcast_ref::<Column>().and_then(|column| scope.title(column)) {
            return title.clone().known_as(name);
        }
        let (short, full) = (scope.render(expr), Scope { qualified: true, ..*scope }.render(expr));
        let strength = short.strength;
        Self { name: name.to_owned(), table: None, text: short.text, full: full.text, made_of: None, strength }
    }
}

/// A subquery that is a value, and what it gives.
pub type Subquery = (Arc<ScalarSubqueryExpr>, String);

/// What expressions are read in.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The columns by their places.
    pub titles: &'a [Title],
    /// All columns at hand: one that is called like another is said with its table.
    pub among: &'a [Title],
    /// Whether every column is said with its table.
    pub qualified: bool,
    /// The subqueries that are values.
    pub subqueries: &'a [Subquery],
}

/// A text, and how tightly it holds together.
struct Text {
    text: String,
    strength: Strength,
}

impl Scope<'_> {
    /// `expr` as SQL.
    pub fn sql(&self, expr: &Arc<dyn PhysicalExpr>) -> String {
        self.render(expr).text
    }

    /// `exprs` as SQL, with commas.
    pub fn list<'e>(&self, exprs: impl IntoIterator<Item = &'e Arc<dyn PhysicalExpr>>) -> String {
        exprs.into_iter().map(|expr| self.sql(expr)).collect::<Vec<_>>().join(", ")
    }

    /// `amount DESC`; where NULLs go only if that is not SQL's own choice.
    pub fn sort_key(&self, key: &PhysicalSortExpr) -> String {
        let order = match (key.options.descending, key.options.nulls_first) {
            (false, false) => "",
            (true, true) => " DESC",
            (false, true) => " NULLS FIRST",
            (true, false) => " DESC NULLS LAST",
        };
        format!("{}{order}", self.sql(&key.expr))
    }

    /// `count(DISTINCT card)`, `sum(amount) FILTER (WHERE hour > 3)`.
    pub fn aggregate(&self, call: &AggregateFunctionExpr, filter: Option<&Arc<dyn PhysicalExpr>>) -> String {
        let (name, args) = (call.fun().name(), call.expressions());
        let all = name == "count" && args.iter().all(|arg| arg.downcast_ref::<Literal>().is_some());
        let args = if all { "*".to_owned() } else { self.list(&args) };
        let distinct = if call.is_distinct() { "DISTINCT " } else { "" };
        let keys: Vec<String> = call.order_bys().iter().map(|key| self.sort_key(key)).collect();
        let order = if keys.is_empty() { String::new() } else { format!(" ORDER BY {}", keys.join(", ")) };
        let nulls = if call.ignore_nulls() { " IGNORE NULLS" } else { "" };
        let filter = filter.map_or_else(String::new, |expr| format!(" FILTER (WHERE {})", self.sql(expr)));
        format!("{name}({distinct}{args}{order}){nulls}{filter}")
    }

    /// The title of `column`. Its name decides if something else stands in its place, as in the body of a lambda.
    fn title(&self, column: &Column) -> Option<&Title> {
        let is = |title: &&Title| title.name == column.name();
        self.titles.get(column.index()).filter(is).or_else(|| self.titles.iter().find(is))
    }

    fn called(&self, title: &Title) -> Text {
        let twin = |other: &Title| other.text == title.text && other.full != title.full;
        let full = self.qualified || self.among.iter().any(twin);
        Text { text: if full { title.full.clone() } else { title.text.clone() }, strength: title.strength }
    }

    /// `expr`, in parentheses if it holds less tightly than `strength`.
    fn within(&self, expr: &Arc<dyn PhysicalExpr>, strength: Strength) -> String {
        let inner = self.render(expr);
        if inner.strength < strength { format!("({})", inner.text) } else { inner.text }
    }

    fn render(&self, expr: &Arc<dyn PhysicalExpr>) -> Text {
        let whole = |text: String| Text { text, strength: WHOLE };
        if let Some(column) = expr.downcast_ref::<Column>() {
            return self.title(column).map_or_else(|| whole(column.name().to_owned()), |title| self.called(title));
        }
        if let Some(value) = expr.downcast_ref::<Literal>() {
            return whole(literal(value.value()));
        }
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            return self.binary(binary);
        }
        if let Some(like) = expr.downcast_ref::<LikeExpr>() {
            let not = if like.negated() { "NOT " } else { "" };
            let sign = if like.case_insensitive() { "ILIKE" } else { "LIKE" };
            let (left, right) = (self.within(like.expr(), PREDICATE + 1), self.within(like.pattern(), PREDICATE + 1));
            return Text { text: format!("{left} {not}{sign} {right}"), strength: PREDICATE };
        }
        if let Some(list) = expr.downcast_ref::<InListExpr>() {
            let not = if list.negated() { "NOT " } else { "" };
            let text = format!("{} {not}IN ({})", self.within(list.expr(), PREDICATE + 1), self.list(list.list()));
            return Text { text, strength: PREDICATE };
        }
        if let Some(is) = expr.downcast_ref::<IsNullExpr>() {
            return Text { text: format!("{} IS NULL", self.within(is.arg(), PREDICATE + 1)), strength: PREDICATE };
        }
        if let Some(is) = expr.downcast_ref::<IsNotNullExpr>() {
            return Text { text: format!("{} IS NOT NULL", self.within(is.arg(), PREDICATE + 1)), strength: PREDICATE };
        }
        if let Some(not) = expr.downcast_ref::<NotExpr>() {
            return Text { text: format!("NOT {}", self.within(not.arg(), NOT + 1)), strength: NOT };
        }
        if let Some(negative) = expr.downcast_ref::<NegativeExpr>() {
            return Text { text: format!("-{}", self.within(negative.arg(), WHOLE)), strength: NEGATIVE };
        }
        if let Some(cast) = expr.downcast_ref::<CastExpr>() {
            return whole(format!("CAST({} AS {})", self.sql(cast.expr()), sql_type(cast.cast_type())));
        }
        if let Some(cast) = expr.downcast_ref::<TryCastExpr>() {
            return whole(format!("TRY_CAST({} AS {})", self.sql(cast.expr()), sql_type(cast.cast_type())));
        }
        if let Some(case) = expr.downcast_ref::<CaseExpr>() {
            return whole(self.case(case));
        }
        if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
            return whole(self.call(call));
        }
        if let Some(call) = expr.downcast_ref::<AsyncFuncExpr>() {
            return self.render(&call.func);
        }
        if let Some(call) = expr.downcast_ref::<HigherOrderFunctionExpr>() {
            return whole(format!("{}({})", call.name(), self.list(call.args())));
        }
        if let Some(lambda) = expr.downcast_ref::<LambdaExpr>() {
            return whole(format!("{} -> {}", lambda.params().join(", "), self.sql(lambda.body())));
        }
        if let Some(variable) = expr.downcast_ref::<LambdaVariable>() {
            return whole(variable.name().to_owned());
        }
        if let Some(value) = expr.downcast_ref::<ScalarSubqueryExpr>() {
            let known = self.subqueries.iter().find(|(known, _)| known.as_ref() == value);
            return whole(known.map_or("(SELECT ...)".to_owned(), |(_, gives)| format!("(SELECT {gives} ...)")));
        }
        // No query of today makes another kind.
        Text { text: sql_types(&fmt_sql(expr.as_ref()).to_string()), strength: 0 }
    }

    fn binary(&self, binary: &BinaryExpr) -> Text {
        let strength = binary.op().precedence();
        // `a - (b - c)` is not `a - b - c`; only of these is the order of no matter.
        let either = matches!(binary.op(), Operator::And | Operator::Or);
        let (left, right) = (
            self.within(binary.left(), strength),
            self.within(binary.right(), if either { strength } else { strength + 1 }),
        );
        Text { text: format!("{left} {} {right}", binary.op()), strength }
    }

    fn case(&self, case: &CaseExpr) -> String {
        let mut text = "CASE".to_owned();
        if let Some(operand) = case.expr() {
            text = format!("{text} {}", self.sql(operand));
        }
        for (when, then) in case.when_then_expr() {
            text = format!("{text} WHEN {} THEN {}", self.sql(when), self.sql(then));
        }
        if let Some(other) = case.else_expr() {
            text = format!("{text} ELSE {}", self.sql(other));
        }
        text + " END"
    }

    /// A call; what is written with signs in SQL is written so here: `object.field`, `tags[1]`.
    fn call(&self, call: &ScalarFunctionExpr) -> String {
        match (call.fun().name(), call.args()) {
            ("get_field", [base, path @ ..]) => {
                let step = |field: &Arc<dyn PhysicalExpr>| match field.downcast_ref::<Literal>().map(|l| l.value()) {
                    Some(value) => match value.try_as_str().flatten() {
                        Some(name) => format!(".{}", quote_name(name)),
                        None => format!("[{}]", literal(value)),
                    },
                    None => format!("[{}]", self.sql(field)),
                };
                self.within(base, WHOLE) + &path.iter().map(step).collect::<String>()
            }
            ("array_element", [base, index]) => format!("{}[{}]", self.within(base, WHOLE), self.sql(index)),
            ("make_array", items) => format!("[{}]", self.list(items)),
            (name, args) => format!("{name}({})", self.list(args)),
        }
    }
}

/// A constant as SQL writes it.
fn literal(value: &ScalarValue) -> String {
    if value.is_null() {
        return "NULL".to_owned();
    }
    if let Some(text) = value.try_as_str().flatten() {
        return quote_text(text);
    }
    let text = || match value.cast_to(&DataType::Utf8) {
        Ok(ScalarValue::Utf8(Some(text))) => text,
        _ => value.to_string(),
    };
    match value {
        ScalarValue::Date32(_) | ScalarValue::Date64(_) => format!("DATE '{}'", text()),
        ScalarValue::TimestampSecond(..)
        | ScalarValue::TimestampMillisecond(..)
        | ScalarValue::TimestampMicrosecond(..)
        | ScalarValue::TimestampNanosecond(..) => format!("TIMESTAMP '{}'", text().replacen('T', " ", 1)),
        ScalarValue::IntervalYearMonth(_)
        | ScalarValue::IntervalDayTime(_)
        | ScalarValue::IntervalMonthDayNano(_)
        | ScalarValue::DurationSecond(_)
        | ScalarValue::DurationMillisecond(_)
        | ScalarValue::DurationMicrosecond(_)
        | ScalarValue::DurationNanosecond(_) => format!("INTERVAL '{}'", text()),
        ScalarValue::Binary(Some(bytes)) | ScalarValue::LargeBinary(Some(bytes)) | ScalarValue::BinaryView(Some(bytes)) => {
            format!("X'{}'", bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>())
        }
        ScalarValue::List(list) => items(&list.value(0)),
        ScalarValue::LargeList(list) => items(&list.value(0)),
        ScalarValue::FixedSizeList(list) => items(&list.value(0)),
        ScalarValue::Decimal32(..)
        | ScalarValue::Decimal64(..)
        | ScalarValue::Decimal128(..)
        | ScalarValue::Decimal256(..) => text(),
        other => other.to_string(),
    }
}

fn items(values: &dyn Array) -> String {
    let item = |at| ScalarValue::try_from_array(values, at).map_or_else(|_| "?".to_owned(), |value| literal(&value));
    format!("[{}]", (0..values.len()).map(item).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use datafusion::physical_expr::expressions::{binary, col, is_null, lit, not};

    use super::*;

    #[test]
    fn parentheses_stand_where_they_are_needed_and_columns_are_told_apart() {
        let schema = arrow::datatypes::Schema::new(vec![
            arrow::datatypes::Field::new("a", DataType::Int64, true),
            arrow::datatypes::Field::new("b", DataType::Int64, true),
        ]);
        let (a, b) = (col("a", &schema).unwrap(), col("b", &schema).unwrap());
        let of = |left: &Arc<dyn PhysicalExpr>, op, right: &Arc<dyn PhysicalExpr>| {
            binary(Arc::clone(left), op, Arc::clone(right), &schema).unwrap()
        };
        let titles = [Title::column("a", Some("t".into())), Title::column("b", Some("t".into()))];
        let scope = Scope { titles: &titles, among: &titles, qualified: false, subqueries: &[] };
        let less = of(&a, Operator::Minus, &b);
        let both = of(&of(&a, Operator::Gt, &b), Operator::And, &of(&b, Operator::Lt, &lit(3i64)));
        for (expr, sql) in [
            (of(&a, Operator::Minus, &less), "a - (a - b)"),
            (of(&less, Operator::Minus, &b), "a - b - b"),
            (of(&less, Operator::Multiply, &b), "(a - b) * b"),
            (of(&both, Operator::Or, &both), "a > b AND b < 3 OR a > b AND b < 3"),
            (
                of(&of(&both, Operator::Or, &both), Operator::And, &both),
                "(a > b AND b < 3 OR a > b AND b < 3) AND a > b AND b < 3",
            ),
            (not(Arc::clone(&both)).unwrap(), "NOT (a > b AND b < 3)"),
            (is_null(Arc::clone(&less)).unwrap(), "a - b IS NULL"),
            (is_null(both).unwrap(), "(a > b AND b < 3) IS NULL"),
            (lit("it's @2"), "'it''s @2'"),
        ] {
            assert_eq!(scope.sql(&expr), sql);
        }
        assert_eq!(Scope { qualified: true, ..scope }.sql(&less), "t.a - t.b");
        // What was computed keeps its parentheses under its new name.
        let computed = [Title::of("less", &less, &scope)];
        let above = Scope { titles: &computed, among: &computed, qualified: false, subqueries: &[] };
        let schema = arrow::datatypes::Schema::new(vec![arrow::datatypes::Field::new("less", DataType::Int64, true)]);
        let twice = binary(col("less", &schema).unwrap(), Operator::Multiply, lit(2i64), &schema).unwrap();
        assert_eq!(above.sql(&twice), "(a - b) * 2");
        let other = [titles[0].clone(), Title::column("a", Some("u".into()))];
        assert_eq!(Scope { titles: &other, among: &other, ..scope }.sql(&a), "t.a");
    }

    #[test]
    fn constants_are_written_as_in_sql() {
        use arrow::array::types::IntervalMonthDayNano;
        for (value, sql) in [
            (ScalarValue::Int64(None), "NULL"),
            (ScalarValue::Float64(Some(1.0)), "1"),
            (ScalarValue::Boolean(Some(true)), "true"),
            (ScalarValue::Utf8(Some("NULL".to_owned())), "'NULL'"),
            (ScalarValue::Decimal128(Some(1250), 5, 2), "12.50"),
            (ScalarValue::Date32(Some(0)), "DATE '1970-01-01'"),
            (ScalarValue::TimestampMillisecond(Some(1_500), None), "TIMESTAMP '1970-01-01 00:00:01.500'"),
            (ScalarValue::Binary(Some(vec![1, 255])), "X'01FF'"),
            (ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, 60_000_000_000))), "INTERVAL '1 mins'"),
            (ScalarValue::List(ScalarValue::new_list_nullable(&["a".into()], &DataType::Utf8)), "['a']"),
        ] {
            assert_eq!(literal(&value), sql);
        }
    }
}
