//! EXPLAIN: a statement's plan as it runs, per epoch if it goes on.
//!
//! The heading says why the statement ends, follows or runs; then come the steps in the order in which a row meets them.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{collect, displayable};
use sqlparser::ast;

use crate::error::{Error, Result};
use crate::sql::Statement;
use crate::sql::plan::explain::explain;

use super::plan::{Mode, Planned};
use super::query::Rows;
use super::session::Session;
use super::tables::existing;

impl Session {
    pub(super) async fn explain(&mut self, statement: &Statement, analyze: bool, verbose: bool) -> Result<Rows> {
        let (query, mode, heading) = match statement {
            Statement::Query { query, emit: None } => {
                (query, Mode::Answer, "answers and ends: topics are read to their present ends".to_owned())
            }
            Statement::Query { query, emit: Some(emit) } => {
                let limit = emit.limit.map_or(String::new(), |n| format!(" or {n} rows"));
                (query, Mode::Follow, format!("follows, epoch by epoch, until Ctrl-C{limit}"))
            }
            Statement::Insert { target, query, .. } => {
                (query, Mode::Job, format!("runs as a job, epoch by epoch, into table \"{target}\""))
            }
            Statement::CreateTable { definition, query: Some(query), .. } => {
                (query, Mode::Job, format!("runs as a job, epoch by epoch, into table \"{}\"", definition.name))
            }
            _ => return Err(Error::user("there is no plan to explain: the statement has no query")),
        };
        if analyze && mode != Mode::Answer {
            return Err(
                Error::user("EXPLAIN ANALYZE runs the statement, and this one does not end").hint("Leave out ANALYZE.")
            );
        }
        let planned = self.plan_for(query, mode).await?;
        let mut lines = vec![("statement".to_owned(), heading)];
        if analyze {
            collect(Arc::clone(&planned.physical), planned.state.task_ctx()).await?;
            let text = DisplayableExecutionPlan::with_metrics(planned.physical.as_ref()).indent(verbose).to_string();
            lines.push(("analyze".to_owned(), text.trim_end().to_owned()));
        } else {
            for table in &planned.tables {
                if let Some(kafka) = table.kafka() {
                    let topic = existing(self.engine().broker(), &kafka.topic).await?;
                    let s = if topic.partitions == 1 { "" } else { "s" };
                    lines.push((
                        "topic".to_owned(),
                        format!("\"{}\", {} partition{s}, format {}", topic.name, topic.partitions, kafka.format),
                    ));
                }
            }
            lines.extend(explain(&planned.physical));
            if verbose {
                lines.push((
                    "plan".to_owned(),
                    displayable(planned.physical.as_ref()).indent(true).to_string().trim_end().to_owned(),
                ));
            }
        }
        let fields = vec![Field::new("step", DataType::Utf8, false), Field::new("plan", DataType::Utf8, false)];
        let (steps, texts): (Vec<String>, Vec<String>) = lines.into_iter().unzip();
        let batch = RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            vec![Arc::new(StringArray::from(steps)), Arc::new(StringArray::from(texts))],
        );
        Ok(Rows::of(batch.map_err(|e| Error::internal(e.to_string()))?))
    }

    /// A job whose query reads nothing that goes on is planned as what it is: an answer that is written.
    async fn plan_for(&mut self, query: &ast::Query, mode: Mode) -> Result<Planned> {
        let draft = self.draft(query, mode).await?;
        let draft = if mode == Mode::Job && !draft.reads_streams() { self.draft(query, Mode::Answer).await? } else { draft };
        self.finish(draft).await
    }
}
