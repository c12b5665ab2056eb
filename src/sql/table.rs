//! Topics as DataFusion tables.   plain SELECT: [`BoundedScanExec`];   running query: [`EpochScanExec`], one per lane
//!
//! One provider serves both: what differs is the leaf it plans. A running query is planned once; [`instantiate`] then copies
//! the plan for each lane, with inputs of its own.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::Result;
use crate::stream::scan::{BoundedScanExec, EpochInput, EpochScanExec, LeftOut, OpenSource, lock};
use crate::stream::table::{RowReader, TopicTable};

/// The leaves of one running query: which columns of which table each reads.
pub type Leaves = Arc<Mutex<Vec<Leaf>>>;

/// A leaf of a running query.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// The table.
    pub table: Arc<TopicTable>,
    /// The columns that are decoded: indices into its schema.
    pub projection: Vec<usize>,
}

/// How a table is read by the statement that is being planned.
#[derive(Clone)]
pub enum Reading {
    /// To ends captured when the statement began.
    Bounded {
        /// Opens the sources, one per stream.
        open: OpenSource,
        /// How many streams.
        partitions: usize,
        /// Counts what is left out.
        left_out: Arc<LeftOut>,
    },
    /// In epochs: the scans register here.
    Epochs(Leaves),
}

/// A table over a topic, a generator or a file, for one statement.
pub struct StreamTable {
    table: Arc<TopicTable>,
    reading: Reading,
}

impl StreamTable {
    /// A provider of `table` for one statement.
    #[must_use]
    pub fn new(table: Arc<TopicTable>, reading: Reading) -> Self {
        Self { table, reading }
    }
}

impl fmt::Debug for StreamTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamTable").field("table", &self.table.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let table = Arc::clone(&self.table);
        let projection = projection.cloned().unwrap_or_else(|| (0..table.schema.fields().len()).collect());
        match &self.reading {
            Reading::Bounded { open, partitions, left_out } => {
                Ok(Arc::new(BoundedScanExec::new(table, projection, *partitions, Arc::clone(open), Arc::clone(left_out))))
            }
            Reading::Epochs(leaves) => {
                let input = EpochInput::new(RowReader::new(Arc::clone(&table), &projection)?);
                let mut leaves = lock(leaves);
                leaves.push(Leaf { table, projection });
                Ok(Arc::new(EpochScanExec::new(leaves.len() - 1, input)))
            }
        }
    }
}

/// A plan and what its leaves read.
pub type Instance = (Arc<dyn ExecutionPlan>, Vec<Arc<EpochInput>>);

/// A copy of `plan` with inputs of its own, in the order of `leaves`.
///
/// # Errors
/// `User` if a format cannot carry a column's type; it would have been seen when planning.
pub fn instantiate(plan: &Arc<dyn ExecutionPlan>, leaves: &[Leaf]) -> Result<Instance> {
    let inputs = leaves
        .iter()
        .map(|leaf| Ok(EpochInput::new(RowReader::new(Arc::clone(&leaf.table), &leaf.projection)?)))
        .collect::<Result<Vec<_>>>()?;
    let plan = Arc::clone(plan).transform_up(|node| {
        let Some(scan) = (node.as_ref() as &dyn Any).downcast_ref::<EpochScanExec>() else {
            return Ok(Transformed::no(node));
        };
        let index = scan.index;
        let input = inputs.get(index).ok_or_else(|| DataFusionError::Internal(format!("the plan has no leaf {index}")))?;
        Ok(Transformed::yes(Arc::new(EpochScanExec::new(index, Arc::clone(input))) as Arc<dyn ExecutionPlan>))
    })?;
    Ok((plan.data, inputs))
}
