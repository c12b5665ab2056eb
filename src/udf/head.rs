//! What functions of all kinds have in a plan.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::Signature as Accepted;

use crate::error::Error;

use super::function::Bound;
use super::signature::Signature;

/// A function in a plan, with the types that the plan relies on.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Head {
    pub bound: Arc<Bound>,
    pub signature: Arc<Signature>,
    pub accepted: Accepted,
}

impl Head {
    pub fn new(bound: Arc<Bound>, signature: Signature, accepted: Accepted) -> Self {
        Self { bound, signature: Arc::new(signature), accepted }
    }
    pub fn name(&self) -> &str {
        &self.bound.function.name
    }
    pub fn returns(&self) -> DataType {
        self.signature.returns.clone()
    }
    /// The field of a result, if the arguments are right. Asked for fields and not in `coerce_types`, whose errors DataFusion replaces
    /// by its own.
    pub fn field(&self, given: &[FieldRef]) -> DfResult<FieldRef> {
        let types: Vec<DataType> = given.iter().map(|field| field.data_type().clone()).collect();
        self.bound.check(&self.signature, &types).map_err(Error::from)?;
        Ok(Arc::new(Field::new(self.name(), self.returns(), true)))
    }
}
