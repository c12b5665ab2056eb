//! What is known around a name: the relations of FROM, CTEs, outputs; and the act of spelling one.
//!
//! Where the columns of a relation are not known, nothing that may be one of them is looked for further outside.

use arrow::datatypes::{DataType, Fields};
use sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    Subscript, TableAlias, Value, WildcardAdditionalOptions,
};
use sqlparser::tokenizer::Span;

use super::name::Name;

/// A column's name and type; `DataType::Null` where the type is not known.
pub(super) type ColumnType = (String, DataType);

/// Something with columns: an item of FROM, or a CTE.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) columns: Option<Vec<ColumnType>>,
}

/// Who says what a query's outputs are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Namesake {
    /// The next SELECT within it.
    Select,
    /// The next query within it, for it is in parentheses.
    Query,
    /// Nobody, or they are known.
    Nobody,
}

/// Where names are looked for.
pub(super) enum Frame {
    /// A query: its CTEs, and what ORDER BY sees.
    Query {
        ctes: Vec<Relation>,
        order: Option<SelectFrame>,
        /// What its leftmost SELECT returns.
        outputs: Option<Vec<ColumnType>>,
        /// What is still to say what those are.
        outputs_of: Namesake,
        /// CTEs that are resolved already, taken out of the way of the walk.
        parked: Vec<Query>,
    },
    /// A SELECT.
    Select(SelectFrame),
}

#[derive(Default)]
pub(super) struct SelectFrame {
    pub(super) relations: Vec<Relation>,
    /// The names of its outputs, as far as they are known.
    pub(super) aliases: Vec<ColumnType>,
    /// In ORDER BY an output comes before a column of the same name.
    pub(super) aliases_first: bool,
    /// Subqueries of FROM that are resolved already, taken out of the way of the walk.
    pub(super) parked: Vec<Query>,
}
impl Frame {
    pub(super) fn new(outputs_of: Namesake) -> Self {
        Frame::Query { ctes: Vec::new(), order: None, outputs: None, outputs_of, parked: Vec::new() }
    }
    /// Whether the spelled `parts` are a column, alone or behind its table, and no field of one.
    pub(super) fn is_column(&self, parts: &[Ident]) -> bool {
        let Frame::Select(select) = self else { return false };
        match parts {
            [table, column] => select.relations.iter().any(|r| {
                r.name == table.value
                    && r.columns.as_ref().is_none_or(|columns| columns.iter().any(|(n, _)| *n == column.value))
            }),
            _ => parts.len() == 1,
        }
    }
}

impl Relation {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().flatten().map(|(name, _)| name.as_str())
    }
}

impl SelectFrame {
    /// Spells the first one or two of `parts`; returns the type, and how many of them it took.
    pub(super) fn find(&self, parts: &mut [Ident]) -> Option<(DataType, usize)> {
        let first = Name::from(parts.first()?);
        if let Some(second) = parts.get(1).map(Name::from)
            && let Some(table) = first.find(self.relations.iter().map(|r| r.name.as_str()))
        {
            for relation in self.relations.iter().filter(|r| r.name == table) {
                let Some(column) = second.find(relation.names()) else { continue };
                let data_type = type_of(relation.columns.iter().flatten(), column);
                let (table, column) = (table.to_owned(), column.to_owned());
                spell(&mut parts[0], Some(table));
                spell(&mut parts[1], Some(column));
                return Some((data_type, 2));
            }
            // The table is right and its column is not known: that is all there is to say.
            if first.find(self.columns().map(|(n, _)| n.as_str())).is_none() {
                let table = table.to_owned();
                spell(&mut parts[0], Some(table));
                return Some((DataType::Null, 2));
            }
        }
        let columns = || first.find(self.columns().map(|(name, _)| name.as_str()));
        let aliases = || first.find(self.aliases.iter().map(|(name, _)| name.as_str()));
        let (found, is_alias) = if self.aliases_first {
            aliases().map(|a| (a, true)).or_else(|| columns().map(|c| (c, false)))?
        } else {
            columns().map(|c| (c, false)).or_else(|| aliases().map(|a| (a, true)))?
        };
        let data_type = if is_alias { type_of(self.aliases.iter(), found) } else { type_of(self.columns(), found) };
        let found = found.to_owned();
        spell(&mut parts[0], Some(found));
        Some((data_type, 1))
    }
    pub(super) fn columns(&self) -> impl Iterator<Item = &ColumnType> {
        self.relations.iter().flat_map(|r| r.columns.iter().flatten())
    }
    /// Spells the table of `table.*`.
    pub(super) fn spell_relation(&self, name: &mut ObjectName) {
        if let Some(ident) = only_ident(name) {
            spell(ident, Name::from(&*ident).find(self.relations.iter().map(|r| r.name.as_str())).map(str::to_owned));
        }
    }
    /// Spells the columns of `* EXCLUDE (a)`, `EXCEPT (a)`, `REPLACE (1 AS a)`.
    pub(super) fn spell_options(&self, options: &mut WildcardAdditionalOptions) {
        let mut idents: Vec<&mut Ident> = Vec::new();
        match &mut options.opt_exclude {
            Some(ExcludeSelectItem::Single(name)) => idents.extend(only_ident(name)),
            Some(ExcludeSelectItem::Multiple(names)) => idents.extend(names.iter_mut().filter_map(only_ident)),
            None => {}
        }
        if let Some(except) = &mut options.opt_except {
            idents.push(&mut except.first_element);
            idents.extend(&mut except.additional_elements);
        }
        if let Some(replace) = &mut options.opt_replace {
            idents.extend(replace.items.iter_mut().map(|item| &mut item.column_name));
        }
        for ident in idents {
            spell(ident, Name::from(&*ident).find(self.columns().map(|(n, _)| n.as_str())).map(str::to_owned));
        }
    }
}

/// The names that the stars of a SELECT stand for, as far as they are known.
pub(super) fn star_names(select: &Select, relations: &[Relation]) -> Vec<String> {
    let mut names = Vec::new();
    for item in &select.projection {
        let (options, table) = match item {
            SelectItem::Wildcard(options) => (options, None),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                (options, name.0.last().and_then(|p| p.as_ident()))
            }
            _ => continue,
        };
        let mut left_out: Vec<&str> = Vec::new();
        match &options.opt_exclude {
            Some(ExcludeSelectItem::Single(name)) => left_out.extend(last_text(name)),
            Some(ExcludeSelectItem::Multiple(all)) => left_out.extend(all.iter().filter_map(last_text)),
            None => {}
        }
        if let Some(except) = &options.opt_except {
            left_out.push(&except.first_element.value);
            left_out.extend(except.additional_elements.iter().map(|i| i.value.as_str()));
        }
        let relations = relations.iter().filter(|r| table.is_none_or(|t| r.name == t.value));
        names.extend(relations.flat_map(Relation::names).filter(|n| !left_out.contains(n)).map(str::to_owned));
    }
    names
}

pub(super) fn last_text(name: &ObjectName) -> Option<&str> {
    name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.as_str())
}

/// Gives `ident` the spelling found, and quotes it, so that it is not looked for again.
pub(super) fn spell(ident: &mut Ident, found: Option<String>) {
    if let Some(found) = found {
        ident.value = found;
        ident.quote_style = Some('"');
    }
}

pub(super) fn quoted(text: &str, span: Span) -> Ident {
    Ident { value: text.to_owned(), quote_style: Some('"'), span }
}

pub(super) fn type_of<'a>(mut columns: impl Iterator<Item = &'a ColumnType>, name: &str) -> DataType {
    columns.find(|(n, _)| n == name).map_or(DataType::Null, |(_, t)| t.clone())
}

pub(super) fn column_types(fields: &Fields) -> Vec<ColumnType> {
    fields.iter().map(|f| (f.name().clone(), f.data_type().clone())).collect()
}

/// Spells fields of structs; returns the last one's type.
pub(super) fn nested(parts: &mut [Ident], data_type: &DataType) -> DataType {
    let Some((first, rest)) = parts.split_first_mut() else { return data_type.clone() };
    let DataType::Struct(fields) = data_type else { return DataType::Null };
    let Some(found) = Name::from(&*first).find(fields.iter().map(|f| f.name().as_str())) else { return DataType::Null };
    let inner = fields.iter().find(|f| f.name() == found).map_or(DataType::Null, |f| f.data_type().clone());
    let found = found.to_owned();
    spell(first, Some(found));
    nested(rest, &inner)
}

/// The type of `value[...]`.
pub(super) fn element(data_type: &DataType, subscript: &Subscript) -> DataType {
    match (data_type, subscript) {
        (DataType::List(item), Subscript::Index { .. }) => item.data_type().clone(),
        (DataType::List(_), Subscript::Slice { .. }) => data_type.clone(),
        (DataType::Map(entries, _), Subscript::Index { .. }) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => pair[1].data_type().clone(),
            _ => DataType::Null,
        },
        (DataType::Struct(_), Subscript::Index { index: Expr::Value(value) }) => match &value.value {
            Value::SingleQuotedString(field) => nested(&mut [quoted(field, value.span)], data_type),
            _ => DataType::Null,
        },
        _ => DataType::Null,
    }
}

pub(super) fn only_ident(name: &mut ObjectName) -> Option<&mut Ident> {
    match name.0.as_mut_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(ident),
        _ => None,
    }
}

/// The relation under its alias, with the alias's names for its columns.
pub(super) fn aliased(mut relation: Relation, alias: Option<&TableAlias>) -> Relation {
    let Some(alias) = alias else { return relation };
    relation.name.clone_from(&alias.name.value);
    if alias.columns.is_empty() {
        return relation;
    }
    let mut columns = relation.columns.unwrap_or_default();
    columns.resize(columns.len().max(alias.columns.len()), (String::new(), DataType::Null));
    for (column, named) in columns.iter_mut().zip(&alias.columns) {
        column.0.clone_from(&named.name.value);
    }
    relation.columns = Some(columns);
    relation
}
