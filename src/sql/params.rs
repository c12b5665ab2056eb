//! Parameters: values for `$name` that come from outside of the text.   `limit=5` ─► [`Params`] ─► literal │ value in the plan
//!
//! A value never becomes text of a statement. Where its place has a type (`amount > $limit`, `CAST($since AS TIMESTAMP)`) it
//! stays a placeholder until the query is planned, and [`bind`] reads it as a value of that type. Everywhere else (a function's
//! argument, LIMIT, an output column) [`settle`] makes it the literal that its own form suggests; where a statement wants a text
//! (an option, a path, a topic) the parser takes it as one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{Cast, Placeholder, TryCast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::scalar::ScalarValue;
use sqlparser::ast::{self, BinaryOperator, Query, UnaryOperator, Value, VisitMut, VisitorMut};
use sqlparser::tokenizer::Token;

use super::text::Source;
use crate::error::{Error, Result, did_you_mean};

/// What a placeholder of a typed place begins with while [`settle`] is at work; no text can be read as one.
const TYPED: &str = "$:";

/// Functions whose arguments are all of one type.
const ALIKE: &[&str] = &["nullif", "coalesce", "nvl", "ifnull", "greatest", "least"];

/// Values by name. Names are as typed: case counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    values: BTreeMap<String, String>,
    /// Whether they are typed in the shell, which is where more of them come from.
    in_shell: bool,
}

impl Params {
    /// None yet; they are typed in the shell.
    #[must_use]
    pub fn of_shell() -> Self {
        Self { in_shell: true, ..Self::default() }
    }
    /// How `name` is given a value.
    fn giving(&self, name: &str, value: &str) -> String {
        if self.in_shell { format!("\\set {name} {value}") } else { format!("--param {name}={value}") }
    }
    /// Gives `name` a value.
    ///
    /// # Errors
    /// `User` if no `$name` can be written so, or it has a value already.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        if self.replace(name, value)? {
            return Err(Error::user(format!("parameter \"{name}\" is given twice")).hint("Leave out one of them."));
        }
        Ok(())
    }
    /// Gives `name` a value, in the place of the one that it may have; whether it had one.
    ///
    /// # Errors
    /// `User` if no `$name` can be written so.
    pub fn replace(&mut self, name: &str, value: &str) -> Result<bool> {
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !begins || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let error = Error::user(format!("\"{name}\" is not a parameter's name"));
            let example = self.giving("limit", "5");
            return Err(error.hint(format!("Use letters, digits and \"_\", with no digit at the begin: {example}")));
        }
        Ok(self.values.insert(name.to_owned(), value.to_owned()).is_some())
    }
    /// Forgets the value of `name`.
    ///
    /// # Errors
    /// `User` if it has none, with the nearest that has.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        if self.values.remove(name).is_some() {
            return Ok(());
        }
        let error = Error::user(format!("parameter \"{name}\" has no value"));
        Err(match did_you_mean(name, "parameters", self.values.keys().map(String::as_str)) {
            Some(hint) => error.hint(hint),
            None => error.hint(format!("There are no parameters yet: {}", self.giving("limit", "5"))),
        })
    }
    /// All of them with their values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
    /// The value of `name` as it was given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
    /// Checks that each value is for one of the parameters `used`.
    ///
    /// # Errors
    /// `User` for the first that is not, with the nearest that is.
    pub fn check_used(&self, used: &BTreeSet<String>) -> Result<()> {
        let Some(name) = self.values.keys().find(|name| !used.contains(*name)) else { return Ok(()) };
        let error = Error::user(format!("no statement has a parameter \"{name}\""));
        Err(match did_you_mean(name, "parameters", used.iter().map(String::as_str)) {
            Some(hint) => error.hint(hint),
            None => error.hint(format!("Write ${name} where the value belongs, or leave out --param {name}=...")),
        })
    }
    /// The error for `$name` without a value.
    pub(super) fn missing(&self, name: &str) -> Error {
        let give = format!("Give it one: {}", self.giving(name, "VALUE"));
        let error = Error::user(format!("parameter \"{name}\" has no value"));
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            let example = self.giving("limit", "VALUE");
            return error.hint(format!("Give parameters names that begin with a letter: $limit, and {example}"));
        }
        match crate::error::nearest(name, self.values.keys().map(String::as_str)) {
            Some(near) => error.hint(format!("There is one for \"{near}\". {give}")),
            None => error.hint(give),
        }
    }
    /// The value of `name` where a text is wanted: without the quotes that say that it is one.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| unquoted(value).unwrap_or_else(|| value.to_owned()))
    }
}

/// The name of the parameter that `token` is.
pub(super) fn parameter(token: &Token) -> Option<&str> {
    match token {
        Token::Placeholder(text) => text.strip_prefix('$').filter(|name| !name.is_empty()),
        _ => None,
    }
}

/// The parameters that stand in a text.
///
/// # Errors
/// `User` if it cannot be split into words.
pub fn parameters_in(text: &str, file: Option<&str>) -> Result<BTreeSet<String>> {
    let tokens = Source::new(text, file).tokens()?;
    Ok(tokens.iter().filter_map(|t| parameter(&t.token)).map(str::to_owned).collect())
}

/// What a value is by its own form.
#[derive(Debug, Clone, PartialEq)]
enum Form {
    Null,
    Boolean(bool),
    Integer(i64),
    Double(f64),
    Text(String),
}

impl Form {
    fn of(value: &str) -> Self {
        if value == "NULL" {
            return Self::Null;
        }
        if let Some(text) = unquoted(value) {
            return Self::Text(text);
        }
        if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
            return Self::Boolean(value.eq_ignore_ascii_case("true"));
        }
        // Words that f64 knows (NaN, infinity) are texts, and so are numbers with leading zeros: postcodes keep them.
        let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
        let numeric = value.contains(|c: char| c.is_ascii_digit())
            && value.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
        let padded = digits.len() > 1 && digits.starts_with('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit());
        if numeric && !padded {
            if let Ok(integer) = value.parse() {
                return Self::Integer(integer);
            }
            // More digits than BIGINT has would be rounded.
            if !digits.bytes().all(|b| b.is_ascii_digit())
                && let Some(double) = value.parse().ok().filter(|d: &f64| d.is_finite())
            {
                return Self::Double(double);
            }
        }
        Self::Text(value.to_owned())
    }

    /// As it would have been typed.
    fn literal(&self) -> ast::Expr {
        let number = |negative: bool, digits: String| {
            let value = ast::Expr::Value(Value::Number(digits, false).into());
            if negative { ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(value) } } else { value }
        };
        match self {
            Self::Null => ast::Expr::Value(Value::Null.into()),
            Self::Boolean(value) => ast::Expr::Value(Value::Boolean(*value).into()),
            Self::Integer(value) => number(*value < 0, value.unsigned_abs().to_string()),
            Self::Double(value) => number(value.is_sign_negative(), format!("{:e}", value.abs())),
            Self::Text(text) => ast::Expr::Value(Value::SingleQuotedString(text.clone()).into()),
        }
    }

    fn scalar(&self) -> ScalarValue {
        match self {
            Self::Null => ScalarValue::Null,
            Self::Boolean(value) => ScalarValue::Boolean(Some(*value)),
            Self::Integer(value) => ScalarValue::Int64(Some(*value)),
            Self::Double(value) => ScalarValue::Float64(Some(*value)),
            Self::Text(text) => ScalarValue::Utf8(Some(text.clone())),
        }
    }
}

/// The text in `'...'`, where two quotes are one.
fn unquoted(value: &str) -> Option<String> {
    let inside = value.strip_prefix('\'')?.strip_suffix('\'')?;
    Some(inside.replace("''", "'"))
}

/// The value `given` in a place of type `wanted`; `None` if it is none of that type.
fn typed(given: &str, wanted: &DataType) -> Option<ScalarValue> {
    let form = Form::of(given);
    match (&form, wanted) {
        (_, DataType::Null) => Some(form.scalar()),
        (Form::Null, _) => ScalarValue::try_from(wanted).ok(),
        (_, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => {
            let text = unquoted(given).unwrap_or_else(|| given.to_owned());
            ScalarValue::Utf8(Some(text)).cast_to(wanted).ok()
        }
        // A number that another number is compared with may be of another type, as a literal may.
        (Form::Integer(_) | Form::Double(_), wanted) if wanted.is_numeric() => Some(number(given, &form, wanted)),
        (Form::Boolean(_), DataType::Boolean) => Some(form.scalar()),
        (Form::Text(text), DataType::Date32 | DataType::Timestamp(..)) => {
            ScalarValue::Utf8(Some(text.clone())).cast_to(wanted).ok()
        }
        (_, DataType::Boolean | DataType::Date32 | DataType::Timestamp(..)) => None,
        (_, wanted) if wanted.is_numeric() => None,
        _ => Some(form.scalar()),
    }
}

/// A number as `wanted` if nothing of it is lost, else as its form says; beside a DECIMAL as exact as it was written.
fn number(given: &str, form: &Form, wanted: &DataType) -> ScalarValue {
    match (form, wanted) {
        (Form::Double(_), DataType::Decimal128(..)) if !given.contains(['e', 'E']) => {
            let scale = given.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            let exact = i8::try_from(scale).ok().filter(|scale| *scale <= 38);
            let exact = exact.map(|scale| ScalarValue::from(given).cast_to(&DataType::Decimal128(38, scale)));
            exact.and_then(|value| value.ok()).unwrap_or_else(|| form.scalar())
        }
        (Form::Integer(_), wanted) => form.scalar().cast_to(wanted).unwrap_or_else(|_| form.scalar()),
        (_, DataType::Float32 | DataType::Float64) => form.scalar().cast_to(wanted).unwrap_or_else(|_| form.scalar()),
        _ => form.scalar(),
    }
}

/// Makes the parameters of `query` literals, but for those in places that have a type.
pub(super) fn settle(query: &mut Query, params: &Params) {
    let _ = query.visit(&mut Settle { params });
}

/// As [`settle`], but leaves a parameter that is a whole output column, for who knows the column it goes into: [`settle_outputs`].
pub(super) fn settle_but_outputs(query: &mut Query, params: &Params) {
    outputs(query, keep);
    settle(query, params);
}

/// Gives the parameters that are output columns of `query`, an INSERT's, the types of the columns they go into. Numbers stay what they
/// are by themselves: whether one fits is the table's business.
///
/// # Errors
/// `Internal` if a type cannot be written.
pub fn settle_outputs(query: &mut Query, params: &Params, types: &[DataType]) -> Result<()> {
    let types = if count_outputs(query) == Some(types.len()) { types } else { &[] };
    let mut column = 0;
    let mut failed = None;
    outputs(query, |expr| {
        let wanted = types.get(column % types.len().max(1)).filter(|wanted| !wanted.is_numeric());
        column += 1;
        let ast::Expr::Value(value) = &*expr else { return };
        let Value::Placeholder(text) = &value.value else { return };
        let Some(given) = text.strip_prefix('$').and_then(|name| params.get(name)) else { return };
        let Some(wanted) = wanted else {
            *expr = Form::of(given).literal();
            return;
        };
        match super::types::parse_type(&super::types::sql_type(wanted)) {
            Ok(data_type) => {
                let inner = Box::new(expr.clone());
                *expr = ast::Expr::Cast { kind: ast::CastKind::Cast, expr: inner, data_type, array: false, format: None };
            }
            Err(error) => failed = Some(error),
        }
    });
    failed.map_or(Ok(()), Err)
}

/// Shows `each` the expressions of the output columns, row by row; none where `*` hides how many there are.
fn outputs(query: &mut Query, mut each: impl FnMut(&mut ast::Expr)) {
    match query.body.as_mut() {
        ast::SetExpr::Values(values) => values.rows.iter_mut().flat_map(|row| row.iter_mut()).for_each(each),
        ast::SetExpr::Select(select) => {
            for item in &mut select.projection {
                if let ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } = item {
                    each(expr);
                }
            }
        }
        _ => {}
    }
}

/// How many output columns `query` has, if that is seen without planning it.
#[must_use]
pub fn count_outputs(query: &Query) -> Option<usize> {
    match query.body.as_ref() {
        ast::SetExpr::Values(values) => {
            let width = values.rows.first()?.len();
            values.rows.iter().all(|row| row.len() == width).then_some(width)
        }
        ast::SetExpr::Select(select) => {
            let plain = |item: &ast::SelectItem| {
                matches!(item, ast::SelectItem::UnnamedExpr(_) | ast::SelectItem::ExprWithAlias { .. })
            };
            select.projection.iter().all(plain).then_some(select.projection.len())
        }
        _ => None,
    }
}

struct Settle<'a> {
    params: &'a Params,
}

/// Marks `expr` if it is a parameter: it stays one.
fn keep(expr: &mut ast::Expr) {
    if let ast::Expr::Value(value) = expr
        && let Value::Placeholder(text) = &mut value.value
        && !text.starts_with(TYPED)
        && let Some(name) = text.strip_prefix('$')
    {
        *text = format!("{TYPED}{name}");
    }
}

fn compares(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

impl VisitorMut for Settle<'_> {
    type Break = ();

    /// Parents come before their parts: what a parent keeps is met marked.
    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        match expr {
            ast::Expr::BinaryOp { left, op, right } if compares(op) => {
                keep(left);
                keep(right);
            }
            ast::Expr::IsDistinctFrom(left, right) | ast::Expr::IsNotDistinctFrom(left, right) => {
                keep(left);
                keep(right);
            }
            ast::Expr::Between { low, high, .. } => {
                keep(low);
                keep(high);
            }
            ast::Expr::InList { list, .. } => list.iter_mut().for_each(keep),
            ast::Expr::InSubquery { expr, .. } | ast::Expr::Cast { expr, .. } => keep(expr),
            ast::Expr::Like { pattern, .. } | ast::Expr::SimilarTo { pattern, .. } => keep(pattern),
            ast::Expr::ILike { pattern, .. } => keep(pattern),
            ast::Expr::Value(value) => {
                let Value::Placeholder(text) = &mut value.value else { return ControlFlow::Continue(()) };
                if let Some(name) = text.strip_prefix(TYPED) {
                    *text = format!("${name}");
                } else if let Some(given) = text.strip_prefix('$').and_then(|name| self.params.get(name)) {
                    let span = value.span;
                    *expr = Form::of(given).literal();
                    // It stands where the parameter stood, for whoever has something to say about it.
                    if let ast::Expr::Value(value) = expr {
                        value.span = span;
                    }
                }
            }
            ast::Expr::Case { operand: Some(operand), conditions, .. } => {
                keep(operand);
                conditions.iter_mut().for_each(|when| keep(&mut when.condition));
            }
            ast::Expr::Function(call) if ALIKE.contains(&call.name.to_string().to_lowercase().as_str()) => {
                if let ast::FunctionArguments::List(list) = &mut call.args {
                    for arg in &mut list.args {
                        if let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) = arg {
                            keep(expr);
                        }
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Gives the placeholders among `values` the type that the others have.
fn alike(values: &mut [&mut Expr], schema: &DFSchema) -> Result<(), DataFusionError> {
    let known = values.iter().filter(|value| !matches!(value, Expr::Placeholder(_)));
    let types = known.map(|value| value.to_field(schema)).collect::<Result<Vec<_>, _>>()?;
    let Some((_, field)) = types.into_iter().find(|(_, field)| !field.data_type().is_null()) else { return Ok(()) };
    for value in values {
        if let Expr::Placeholder(place) = value
            && place.field.as_ref().is_none_or(|field| field.data_type().is_null())
        {
            place.field = Some(std::sync::Arc::new(field.as_ref().clone().with_nullable(true)));
        }
    }
    Ok(())
}

/// Types for the placeholders that DataFusion knows none for: what `CASE x WHEN` compares, and arguments of one type.
fn infer(expr: Expr, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    let typed = expr.transform(|mut expr| {
        match &mut expr {
            Expr::Case(case) => {
                if let Some(operand) = &mut case.expr {
                    let whens = case.when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
                    alike(&mut [operand.as_mut()].into_iter().chain(whens).collect::<Vec<_>>(), schema)?;
                }
            }
            Expr::ScalarFunction(call) if ALIKE.contains(&call.func.name()) => {
                alike(&mut call.args.iter_mut().collect::<Vec<_>>(), schema)?;
            }
            _ => return Ok(Transformed::no(expr)),
        }
        Ok(Transformed::yes(expr))
    });
    typed.data()
}

/// Puts the values of `params` into the places of `plan` that wait for them.
///
/// # Errors
/// `User` for a value that is none of the type its place has; whatever DataFusion says.
pub fn bind(plan: LogicalPlan, params: &Params) -> Result<LogicalPlan> {
    let mut wrong: Option<Error> = None;
    let mut value = |id: &str, wanted: Option<&DataType>| -> Option<Expr> {
        let name = id.strip_prefix('$')?;
        let Some(given) = params.get(name) else {
            wrong.get_or_insert_with(|| params.missing(name));
            return None;
        };
        match typed(given, wanted.unwrap_or(&DataType::Null)) {
            Some(value) => Some(Expr::Literal(value, None)),
            None => {
                let wanted = super::types::sql_type(wanted.unwrap_or(&DataType::Null));
                let error = Error::user(format!("parameter \"{name}\" is to be {wanted} here, and is '{given}'"));
                wrong.get_or_insert_with(|| error.hint(format!("Give another value, or write CAST(${name} AS TYPE).")));
                None
            }
        }
    };
    let mut place = |expr: Expr| -> Result<Transformed<Expr>, DataFusionError> {
        let (inner, own) = match &expr {
            Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => (expr.as_ref(), Some(field)),
            other => (other, None),
        };
        let Expr::Placeholder(Placeholder { id, field }) = inner else { return Ok(Transformed::no(expr)) };
        let given_by_place = field.as_ref().filter(|f| !f.data_type().is_null()).or(own);
        Ok(match value(id, given_by_place.map(|f| f.data_type())) {
            // The value of a CAST may still be of another type, a number of another width.
            Some(value) => match expr {
                Expr::Cast(cast) => Transformed::yes(Expr::Cast(Cast { expr: Box::new(value), ..cast })),
                Expr::TryCast(cast) => Transformed::yes(Expr::TryCast(TryCast { expr: Box::new(value), ..cast })),
                _ => Transformed::yes(value),
            },
            None => Transformed::no(expr),
        })
    };
    let bound = plan.transform_up_with_subqueries(|plan| {
        // Expressions read the columns that come in; those of a leaf are its own.
        let inputs = plan.inputs();
        let schema = if inputs.is_empty() { plan.schema().as_ref().clone() } else { merge_schema(&inputs) };
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            if !expr.exists(|part| Ok(matches!(part, Expr::Placeholder(_))))? {
                return Ok(Transformed::no(expr));
            }
            let (expr, has_placeholder) = infer(expr, &schema)?.infer_placeholder_types(&schema)?;
            if !has_placeholder {
                return Ok(Transformed::no(expr));
            }
            let name = names.save(&expr);
            Ok(expr.transform_down(&mut place)?.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    });
    match (wrong, bound) {
        (Some(error), _) => Err(error),
        (None, bound) => Ok(bound?.data),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn a_value_has_the_type_that_its_form_suggests() {
        for (value, form) in [
            ("5", Form::Integer(5)),
            ("-5", Form::Integer(-5)),
            ("2.5", Form::Double(2.5)),
            ("1e3", Form::Double(1000.0)),
            ("TRUE", Form::Boolean(true)),
            ("NULL", Form::Null),
            ("null", Form::Text("null".to_owned())),
            ("'NULL'", Form::Text("NULL".to_owned())),
            ("'it''s'", Form::Text("it's".to_owned())),
            ("O'Neil", Form::Text("O'Neil".to_owned())),
            ("", Form::Text(String::new())),
            ("01234", Form::Text("01234".to_owned())),
            ("0", Form::Integer(0)),
            ("0.5", Form::Double(0.5)),
            ("nan", Form::Text("nan".to_owned())),
            ("2026-11-21", Form::Text("2026-11-21".to_owned())),
            ("123456789012345678901", Form::Text("123456789012345678901".to_owned())),
            ("-", Form::Text("-".to_owned())),
        ] {
            assert_eq!(Form::of(value), form, "{value}");
        }
    }

    #[test]
    fn a_place_with_a_type_takes_values_of_it_and_refuses_others() {
        let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
        let given = |value: &str, wanted: &DataType| typed(value, wanted).map(|v| (v.to_string(), v.data_type()));
        assert_eq!(given("123", &DataType::Utf8), Some(("123".to_owned(), DataType::Utf8)));
        assert_eq!(given("5", &DataType::Float64), Some(("5".to_owned(), DataType::Float64)));
        assert_eq!(given("5", &DataType::Int32), Some(("5".to_owned(), DataType::Int32)));
        assert_eq!(given("2.5", &DataType::Int32), Some(("2.5".to_owned(), DataType::Float64)));
        assert_eq!(given("9000000000", &DataType::Int32), Some(("9000000000".to_owned(), DataType::Int64)));
        assert_eq!(given("1.999", &DataType::Decimal128(10, 2)).map(|v| v.1), Some(DataType::Decimal128(38, 3)));
        assert_eq!(given("2026-11-21T04:40:49.5Z", &millis).map(|v| v.1), Some(millis.clone()));
        assert_eq!(given("2026-11-21", &DataType::Date32), Some(("2026-11-21".to_owned(), DataType::Date32)));
        assert_eq!(given("NULL", &DataType::Utf8), Some(("NULL".to_owned(), DataType::Utf8)));
        for (value, wanted) in [
            ("abc", &DataType::Float64),
            ("yesterday", &millis),
            ("yes", &DataType::Boolean),
            ("5", &DataType::Date32),
            ("true", &DataType::Int64),
        ] {
            assert_eq!(given(value, wanted), None, "{value} as {wanted}");
        }
    }
}
