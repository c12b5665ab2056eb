//! What the columns of a query are called.   `SELECT lower(a), a::INT, a + 1, a, a` ─► lower, a, column3, a, a
//!
//! As in psql: a call is called like its function, a cast like its column, a path like its last name, anything else
//! `column1`, `column2`, ... by its place. DataFusion refuses two columns of one name; so a second one gets a name of its own
//! for the planner, and [`OutputNames`] says what people see.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use sqlparser::ast::{AccessExpr, Expr, Ident, ObjectNamePart, Select, SelectItem, SetExpr, Value};

/// The names that people see, where they differ from those in the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputNames {
    renamed: BTreeMap<String, String>,
}

impl OutputNames {
    /// What people see for the plan's column `field`.
    #[must_use]
    pub fn visible<'a>(&'a self, field: &'a str) -> &'a str {
        self.renamed.get(field).map_or(field, String::as_str)
    }
    /// `schema`, as people see it.
    #[must_use]
    pub fn schema(&self, schema: &Schema) -> SchemaRef {
        let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_name(self.visible(f.name())));
        Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
    }
    /// A name that two columns of `schema` have, which no sink and no view can.
    #[must_use]
    pub fn duplicate<'a>(&'a self, schema: &'a Schema) -> Option<&'a str> {
        let mut seen = HashSet::new();
        schema.fields().iter().map(|f| self.visible(f.name())).find(|name| !seen.insert(*name))
    }
}

/// Gives outputs their names, one SELECT after the other.
#[derive(Debug, Default)]
pub(super) struct Namer {
    names: OutputNames,
}

impl Namer {
    /// Names what has no alias; `star` are the names that its stars stand for, `is_column` tells a column (alone or behind its
    /// table) from a field of one.
    pub(super) fn name(&mut self, select: &mut Select, star: &[String], is_column: impl Fn(&[Ident]) -> bool) {
        let mut seen: HashSet<String> = star.iter().cloned().collect();
        for (at, item) in select.projection.iter_mut().enumerate() {
            let (name, keeps) = match item {
                SelectItem::UnnamedExpr(expr @ Expr::Identifier(_)) => (output_name(expr, at + 1), true),
                SelectItem::UnnamedExpr(expr @ Expr::CompoundIdentifier(_)) => {
                    let keeps = matches!(expr, Expr::CompoundIdentifier(parts) if is_column(parts));
                    (output_name(expr, at + 1), keeps)
                }
                SelectItem::UnnamedExpr(expr) => (output_name(expr, at + 1), false),
                SelectItem::ExprWithAlias { alias, .. } => (alias.value.clone(), true),
                _ => continue,
            };
            let alias = if seen.insert(name.clone()) {
                if keeps {
                    continue;
                }
                name
            } else {
                self.second(name, &seen)
            };
            let alias = Ident::with_quote('"', alias);
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
    }
    /// A name for the planner that stands for `name`.
    fn second(&mut self, name: String, taken: &HashSet<String>) -> String {
        let mut number = self.names.renamed.len() + 1;
        let mut own = format!("{name}#{number}");
        while taken.contains(&own) || self.names.renamed.contains_key(&own) {
            number += 1;
            own = format!("{name}#{number}");
        }
        self.names.renamed.insert(own.clone(), name);
        own
    }
    pub(super) fn finish(self) -> OutputNames {
        self.names
    }
}

/// What an output without an alias is called; `position` counts from 1.
pub(super) fn output_name(expr: &Expr, position: usize) -> String {
    own_name(expr).unwrap_or_else(|| format!("column{position}"))
}

fn own_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(ident.value.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|i| i.value.clone()),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(ident)) => Some(ident.value.clone()),
                AccessExpr::Dot(Expr::Value(value)) => match &value.value {
                    Value::SingleQuotedString(text) => Some(text.clone()),
                    _ => None,
                },
                _ => None,
            });
            field.or_else(|| own_name(root))
        }
        Expr::Function(function) => match function.name.0.last() {
            Some(ObjectNamePart::Identifier(ident)) if ident.quote_style.is_none() => Some(ident.value.to_lowercase()),
            Some(ObjectNamePart::Identifier(ident)) => Some(ident.value.clone()),
            _ => None,
        },
        Expr::Cast { expr, .. } | Expr::Nested(expr) | Expr::Collate { expr, .. } => own_name(expr),
        Expr::Extract { .. } => Some("extract".to_owned()),
        Expr::Substring { .. } => Some("substring".to_owned()),
        Expr::Trim { .. } => Some("trim".to_owned()),
        Expr::Position { .. } => Some("position".to_owned()),
        Expr::Overlay { .. } => Some("overlay".to_owned()),
        Expr::Ceil { .. } => Some("ceil".to_owned()),
        Expr::Floor { .. } => Some("floor".to_owned()),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first()? {
                SelectItem::UnnamedExpr(expr) => own_name(expr),
                SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}
