//! The walk over a query: every name is looked for from the inside to the outside and spelled where it is found.
//!
//! sqlparser's visitor cannot leave a part out. A subquery of FROM or a CTE that is resolved already is therefore taken out
//! ("parked") before the walk comes to it, and put back behind it: each is walked once, however deep it is.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use sqlparser::ast::{
    AccessExpr, DataType as Ast, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinConstraint, JoinOperator,
    ObjectNamePart, OrderByExpr, OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableAlias, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::super::outputs::{Namer, OutputNames, output_name};
use super::frame::{
    ColumnType, Frame, Namesake, Relation, SelectFrame, aliased, column_types, element, nested, only_ident, quoted, spell,
    star_names,
};
use super::name::{Name, Scope, TableUse, topic_table};

/// How many frames there may be around a recursive query whose columns are looked for.
const MAX_ANCHOR_DEPTH: usize = 24;

pub(super) struct Resolver<'a> {
    scope: &'a dyn Scope,
    frames: Vec<Frame>,
    namer: Namer,
    tables: Vec<TableUse>,
}

impl Resolver<'_> {
    /// Resolves `query` as a whole; returns the names of its outputs, and the tables that it reads.
    pub(super) fn run(query: &mut Query, scope: &dyn Scope) -> (OutputNames, Vec<TableUse>) {
        let mut resolver = Resolver { scope, frames: Vec::new(), namer: Namer::default(), tables: Vec::new() };
        resolver.query(query);
        (resolver.namer.finish(), resolver.tables)
    }

    /// Resolves a query within the present frames; returns its columns, if they are all known.
    fn query(&mut self, query: &mut Query) -> Option<Vec<ColumnType>> {
        // What `post_visit_query` finds on its way out is kept in a frame of ours.
        self.frames.push(Frame::new(Namesake::Query));
        let _ = query.visit(self);
        match self.frames.pop() {
            Some(Frame::Query { outputs, .. }) => outputs,
            _ => None,
        }
    }

    /// The columns of a recursive query, which its first part has; found on a copy, without a trace.
    fn anchor(&mut self, query: &Query) -> Option<Vec<ColumnType>> {
        // Each level of such queries is resolved twice: deep inside it is not worth its time.
        if self.frames.len() > MAX_ANCHOR_DEPTH {
            return None;
        }
        let mut anchor = empty_query();
        anchor.with.clone_from(&query.with);
        *anchor.body = leftmost(&query.body).clone();
        let tables = self.tables.len();
        let columns = self.query(&mut anchor);
        self.tables.truncate(tables);
        columns
    }

    /// Reads one item of FROM, in place.
    fn factor(&mut self, factor: &mut TableFactor, frame: &mut SelectFrame) {
        match factor {
            TableFactor::Table { name, alias, args, .. } => {
                let relation = match (args.as_ref().map(|a| a.args.as_slice()), name.0.as_mut_slice()) {
                    (None, [ObjectNamePart::Identifier(ident)]) => self.table(ident),
                    (Some(arguments), [ObjectNamePart::Identifier(ident)]) => match topic_argument(ident, arguments) {
                        Some(topic) => {
                            *args = None;
                            alias.get_or_insert_with(|| plain_alias(&topic));
                            self.topic(ident, topic)
                        }
                        None => Relation { name: ident.value.to_lowercase(), columns: None },
                    },
                    (_, parts) => {
                        let last = parts.last().and_then(|p| p.as_ident()).map_or_else(String::new, |i| i.value.clone());
                        Relation { name: last, columns: None }
                    }
                };
                frame.relations.push(aliased(relation, alias.as_ref()));
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let columns = self.query(subquery);
                frame.parked.push(std::mem::replace(subquery.as_mut(), empty_query()));
                let relation = Relation { name: String::new(), columns };
                frame.relations.push(aliased(relation, alias.as_ref()));
            }
            TableFactor::NestedJoin { table_with_joins, .. } => self.joins(table_with_joins, frame),
            TableFactor::UNNEST { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::TableFunction { alias, .. } => {
                frame.relations.push(aliased(Relation { name: String::new(), columns: None }, alias.as_ref()));
            }
            // Others are not planned by DataFusion, or not by us.
            _ => frame.relations.push(Relation { name: String::new(), columns: None }),
        }
    }

    fn joins(&mut self, table: &mut TableWithJoins, frame: &mut SelectFrame) {
        self.factor(&mut table.relation, frame);
        for join in &mut table.joins {
            self.factor(&mut join.relation, frame);
            if let Some(JoinConstraint::Using(names)) = constraint(&mut join.join_operator) {
                for ident in names.iter_mut().filter_map(only_ident) {
                    let columns = frame.relations.iter().flat_map(Relation::names);
                    spell(ident, Name::from(&*ident).find(columns).map(str::to_owned));
                }
            }
        }
    }

    /// Finds a table or CTE, spells its name, and notes the use of a table.
    fn table(&mut self, ident: &mut Ident) -> Relation {
        let name = Name::from(&*ident);
        for frame in self.frames.iter().rev() {
            let Frame::Query { ctes, .. } = frame else { continue };
            let Some(found) = name.find(ctes.iter().map(|c| c.name.as_str())) else { continue };
            // A later CTE of the same name hides an earlier one.
            if let Some(cte) = ctes.iter().rev().find(|c| c.name == found) {
                spell(ident, Some(cte.name.clone()));
                return cte.clone();
            }
        }
        let spelled = self.scope.table(&name);
        self.tables.push(TableUse { name, topic: None, span: ident.span });
        let columns = spelled.as_deref().and_then(|table| self.scope.columns(table)).as_ref().map(column_types);
        spell(ident, spelled);
        Relation { name: ident.value.clone(), columns }
    }

    /// Puts the table that stands for a topic in the place of `topic('...')`.
    fn topic(&mut self, ident: &mut Ident, topic: String) -> Relation {
        let table = topic_table(&topic);
        let columns = self.scope.columns(&table).as_ref().map(column_types);
        self.tables.push(TableUse { name: Name::exact(&table), topic: Some(topic), span: ident.span });
        spell(ident, Some(table.clone()));
        Relation { name: table, columns }
    }

    /// Spells `parts`: `column`, `table.column`, each with fields behind it. Returns the type, and whether it is a plain column.
    fn path(&self, parts: &mut [Ident]) -> (DataType, bool) {
        for frame in self.frames.iter().rev() {
            let select = match frame {
                Frame::Select(select) | Frame::Query { order: Some(select), .. } => select,
                Frame::Query { .. } => continue,
            };
            if let Some((data_type, used)) = select.find(parts) {
                let nested = nested(&mut parts[used..], &data_type);
                return (nested, used == parts.len());
            }
            // It may be a column of something whose columns are not known: then it is not one from further outside.
            if select.relations.iter().any(|r| r.columns.is_none()) {
                break;
            }
        }
        (DataType::Null, false)
    }

    /// The type of an expression whose names are resolved, where it is a path.
    fn type_of(&self, expr: &Expr) -> DataType {
        match expr {
            Expr::Identifier(ident) => self.path(&mut [ident.clone()]).0,
            Expr::CompoundIdentifier(parts) => self.path(&mut parts.clone()).0,
            Expr::Nested(inner) => self.type_of(inner),
            Expr::CompoundFieldAccess { root, access_chain } => {
                let (mut root, mut chain) = (root.as_ref().clone(), access_chain.clone());
                self.access(&mut root, &mut chain)
            }
            _ => DataType::Null,
        }
    }

    /// Spells `root.field[1].field`; the fields behind an index become strings, which is how DataFusion reads them.
    fn access(&self, root: &mut Expr, chain: &mut [AccessExpr]) -> DataType {
        let mut parts: Vec<Ident> = match root {
            Expr::Identifier(ident) => vec![ident.clone()],
            Expr::CompoundIdentifier(parts) => parts.clone(),
            _ => Vec::new(),
        };
        let in_root = parts.len();
        // The planner takes the fields before the first index together with a root that is a single name.
        let is_name = matches!(root, Expr::Identifier(_));
        let dots = if is_name { chain.iter().take_while(|a| dot(a).is_some()).count() } else { 0 };
        parts.extend(chain[..dots].iter().filter_map(dot).cloned());
        let mut data_type = if parts.is_empty() { self.type_of(root) } else { self.path(&mut parts).0 };
        match root {
            Expr::Identifier(ident) => ident.clone_from(&parts[0]),
            Expr::CompoundIdentifier(old) => old.clone_from_slice(&parts),
            _ => {}
        }
        for (access, part) in chain.iter_mut().zip(parts.into_iter().skip(in_root)) {
            // Quoted in any case: it is a field, not to be met again as a column.
            *access = AccessExpr::Dot(Expr::Identifier(quoted(&part.value, part.span)));
        }
        for access in &mut chain[dots..] {
            data_type = match access {
                AccessExpr::Dot(Expr::Identifier(ident)) => {
                    let inner = nested(std::slice::from_mut(ident), &data_type);
                    *access = AccessExpr::Dot(Expr::value(Value::SingleQuotedString(ident.value.clone())));
                    inner
                }
                AccessExpr::Dot(Expr::Value(value)) => match &value.value {
                    Value::SingleQuotedString(field) => nested(&mut [quoted(field, value.span)], &data_type),
                    _ => DataType::Null,
                },
                AccessExpr::Dot(_) => DataType::Null,
                AccessExpr::Subscript(subscript) => element(&data_type, subscript),
            };
        }
        data_type
    }

    fn add_cte(&mut self, cte: Relation) {
        if let Some(Frame::Query { ctes, .. }) = self.frames.last_mut() {
            ctes.push(cte);
        }
    }

    /// The outputs of a SELECT, if all of them are known.
    fn outputs(&self, select: &Select, relations: &[Relation]) -> Option<Vec<ColumnType>> {
        let mut outputs = Vec::new();
        for (at, item) in select.projection.iter().enumerate() {
            match item {
                SelectItem::UnnamedExpr(expr) => outputs.push((output_name(expr, at + 1), self.type_of(expr))),
                SelectItem::ExprWithAlias { expr, alias } => outputs.push((alias.value.clone(), self.type_of(expr))),
                SelectItem::Wildcard(_) => {
                    for relation in relations {
                        outputs.extend(relation.columns.clone()?);
                    }
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let wanted = name.0.last()?.as_ident()?.value.clone();
                    outputs.extend(relations.iter().find(|r| r.name == wanted)?.columns.clone()?);
                }
                _ => return None,
            }
        }
        Some(outputs)
    }
}

impl VisitorMut for Resolver<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.frames.push(Frame::new(Namesake::Nobody));
        let mut parked = Vec::new();
        if let Some(with) = &mut query.with {
            for cte in &mut with.cte_tables {
                let name = cte.alias.name.value.clone();
                if with.recursive {
                    let columns = self.anchor(&cte.query);
                    self.add_cte(aliased(Relation { name: name.clone(), columns }, Some(&cte.alias)));
                }
                let columns = self.query(&mut cte.query);
                parked.push(std::mem::replace(cte.query.as_mut(), empty_query()));
                self.add_cte(aliased(Relation { name, columns }, Some(&cte.alias)));
            }
        }
        if let Some(Frame::Query { outputs_of, outputs, parked: slot, .. }) = self.frames.last_mut() {
            *slot = parked;
            match leftmost(&query.body) {
                SetExpr::Query(_) => *outputs_of = Namesake::Query,
                SetExpr::Select(_) => *outputs_of = Namesake::Select,
                SetExpr::Values(values) => {
                    let width = values.rows.first().map_or(0, |row| row.content.len());
                    *outputs = Some((1..=width).map(|n| (format!("column{n}"), DataType::Null)).collect());
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let Some(Frame::Query { outputs: found, parked, .. }) = self.frames.pop() else { return ControlFlow::Continue(()) };
        let ctes = query.with.iter_mut().flat_map(|w| &mut w.cte_tables);
        for (cte, resolved) in ctes.zip(parked) {
            *cte.query = resolved;
        }
        order_all(query);
        order_distinct(query);
        if let Some(Frame::Query { outputs_of: by @ Namesake::Query, outputs, order, .. }) = self.frames.last_mut() {
            *by = Namesake::Nobody;
            *order = found.clone().map(|aliases| SelectFrame { aliases, aliases_first: true, ..SelectFrame::default() });
            *outputs = found;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut frame = SelectFrame::default();
        for table in &mut select.from {
            self.joins(table, &mut frame);
        }
        frame.aliases = select
            .projection
            .iter()
            .filter_map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some((alias.value.clone(), DataType::Null)),
                _ => None,
            })
            .collect();
        for item in &mut select.projection {
            match item {
                SelectItem::Wildcard(options) => frame.spell_options(options),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    frame.spell_relation(name);
                    frame.spell_options(options);
                }
                _ => {}
            }
        }
        self.frames.push(Frame::Select(frame));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let Some(Frame::Select(mut frame)) = self.frames.pop() else { return ControlFlow::Continue(()) };
        let mut parked = std::mem::take(&mut frame.parked).into_iter();
        for table in &mut select.from {
            put_back(table, &mut parked);
        }
        let relations = frame.relations.clone();
        self.frames.push(Frame::Select(frame));
        let outputs = self.outputs(select, &relations);
        let star = star_names(select, &relations);
        self.namer.name(select, &star, |parts| self.frames.last().is_some_and(|frame| frame.is_column(parts)));
        self.frames.pop();
        if let Some(Frame::Query { outputs_of: by @ Namesake::Select, outputs: slot, order, .. }) = self.frames.last_mut() {
            *by = Namesake::Nobody;
            let aliases = outputs.clone().unwrap_or_else(|| known_names(select));
            *order = Some(SelectFrame { relations, aliases, aliases_first: true, parked: Vec::new() });
            *slot = outputs;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => {
                self.path(std::slice::from_mut(ident));
            }
            Expr::CompoundIdentifier(parts) => {
                self.path(parts);
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.access(root, access_chain);
            }
            Expr::Function(function) => {
                if let FunctionArguments::List(list) = &mut function.args {
                    for arg in &mut list.args {
                        if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) = arg
                            && let Some(Frame::Select(frame)) = self.frames.last()
                        {
                            frame.spell_relation(name);
                        }
                    }
                }
            }
            Expr::TypedString(literal) => {
                if let (Ast::Timestamp(precision @ None, _), Some(text)) =
                    (&mut literal.data_type, literal.value.value.clone().into_string())
                {
                    *precision = Some(digits(&text));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// `SELECT DISTINCT lower(a) AS lower ... ORDER BY lower(a)`: DataFusion wants `ORDER BY lower` there.
fn order_distinct(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let Some(OrderByKind::Expressions(orders)) = query.order_by.as_mut().map(|o| &mut o.kind) else { return };
    for order in orders.iter_mut().filter(|_| select.distinct.is_some()) {
        let alias = select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if *expr == order.expr => Some(alias.clone()),
            _ => None,
        });
        if let Some(alias) = alias {
            order.expr = Expr::Identifier(alias);
        }
    }
}

/// `ORDER BY ALL` is `ORDER BY 1, 2, ...`: DataFusion knows it for plain columns only. A star it has to expand itself.
fn order_all(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let named = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    if let Some(kind) = query.order_by.as_mut().map(|o| &mut o.kind)
        && let OrderByKind::All(options) = *kind
        && select.projection.iter().all(named)
    {
        let place = |n: usize| Expr::value(Value::Number(n.to_string(), false));
        let orders = (1..=select.projection.len()).map(|n| OrderByExpr { expr: place(n), options, with_fill: None });
        *kind = OrderByKind::Expressions(orders.collect());
    }
}

/// The precision that keeps all digits of a time's fraction: `TIMESTAMP '2026-11-21 04:40:49.123456'` has 6.
fn digits(text: &str) -> u64 {
    let fraction = text.rsplit_once('.').map_or("", |(_, rest)| rest);
    match fraction.chars().take_while(char::is_ascii_digit).count() {
        0..=3 => 3,
        4..=6 => 6,
        _ => 9,
    }
}

/// The topic of `topic('name')`.
fn topic_argument(function: &Ident, args: &[FunctionArg]) -> Option<String> {
    match args {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))]
            if function.value.eq_ignore_ascii_case("topic") =>
        {
            value.value.clone().into_string()
        }
        _ => None,
    }
}

/// `AS name`.
fn plain_alias(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: quoted(name, Span::empty()), columns: Vec::new(), at: None }
}

fn constraint(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::Right(c)
        | JoinOperator::RightOuter(c)
        | JoinOperator::FullOuter(c)
        | JoinOperator::CrossJoin(c)
        | JoinOperator::Semi(c)
        | JoinOperator::LeftSemi(c)
        | JoinOperator::RightSemi(c)
        | JoinOperator::Anti(c)
        | JoinOperator::LeftAnti(c)
        | JoinOperator::RightAnti(c) => Some(c),
        _ => None,
    }
}

fn dot(access: &AccessExpr) -> Option<&Ident> {
    match access {
        AccessExpr::Dot(Expr::Identifier(ident)) => Some(ident),
        _ => None,
    }
}

/// The SELECT that names the columns of set operations.
fn leftmost(body: &SetExpr) -> &SetExpr {
    match body {
        SetExpr::SetOperation { left, .. } => leftmost(left),
        other => other,
    }
}

/// The names of outputs that are known even if others are not.
fn known_names(select: &Select) -> Vec<ColumnType> {
    let named = select.projection.iter().enumerate().filter_map(|(at, item)| match item {
        SelectItem::UnnamedExpr(expr) => Some(output_name(expr, at + 1)),
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        _ => None,
    });
    named.map(|name| (name, DataType::Null)).collect()
}

/// Puts resolved subqueries back where [`Resolver::factor`] took them from, in the same order.
fn put_back(table: &mut TableWithJoins, parked: &mut impl Iterator<Item = Query>) {
    let joins = table.joins.iter_mut().map(|j| &mut j.relation);
    for factor in std::iter::once(&mut table.relation).chain(joins) {
        match factor {
            TableFactor::Derived { subquery, .. } => {
                if let Some(query) = parked.next() {
                    **subquery = query;
                }
            }
            TableFactor::NestedJoin { table_with_joins, .. } => put_back(table_with_joins, &mut *parked),
            _ => {}
        }
    }
}

/// What stands in the place of a query that is parked: `VALUES` without rows.
fn empty_query() -> Query {
    let values = sqlparser::ast::Values { explicit_row: false, value_keyword: false, rows: Vec::new() };
    Query {
        with: None,
        body: Box::new(SetExpr::Values(values)),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}
