//! Lines of files in a plain SELECT.   reader (own thread) ─► batches ─► DataFusion;   how far it is ─► [`Seen`]

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;

use super::Files;
use super::read::{Item, Reader};
use crate::connector::Rows;
use crate::error::Error;

/// Who hears of each batch: how many rows it has, and how many of the files' bytes are behind it, about.
#[derive(Clone)]
pub struct Seen(Arc<dyn Fn(usize, u64) + Send + Sync>);

impl Seen {
    /// `ear` hears of it.
    pub fn new(ear: impl Fn(usize, u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(ear))
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seen")
    }
}

/// Files of lines as one stream of batches.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) files: Files,
    pub(super) seen: Seen,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        self.files.schema()
    }
    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(self.files.schema());
        let items = match self.files.reader(0, false).and_then(Reader::spawn) {
            Ok(items) => items,
            Err(error) => {
                let failed = futures::stream::once(async { Err(error.into()) });
                return Box::pin(RecordBatchStreamAdapter::new(schema, failed));
            }
        };
        let batches = futures::stream::unfold((items, self.seen.clone()), |(mut items, seen)| async {
            let batch = match items.recv().await? {
                Ok(Item { rows: Rows::Batch(batch), bytes, .. }) => {
                    (seen.0)(batch.num_rows(), bytes);
                    Ok(batch)
                }
                Ok(_) => Err(Error::internal("a file gave records where batches were asked for").into()),
                Err(error) => Err(error.into()),
            };
            Some((batch, (items, seen)))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}
