//! A function as DataFusion calls it, by its kind.

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use super::aggregate::Aggregate;
use super::function::Bound;
use super::lookup::Lookup;
use super::scalar::Scalar;
use super::signature::Kind;

/// A function as DataFusion registers it.
#[derive(Debug)]
pub enum Callable {
    /// In expressions.
    Scalar(ScalarUDF),
    /// Over groups.
    Aggregate(AggregateUDF),
}

impl Callable {
    /// `bound` for a query's plan.
    #[must_use]
    pub fn of(bound: Arc<Bound>) -> Self {
        let signature = bound.function.present().signature.clone();
        match signature.kind {
            Kind::Scalar => Self::Scalar(Scalar::udf(bound, signature)),
            Kind::Async(_) => Self::Scalar(Lookup::udf(bound, signature)),
            Kind::Aggregate => Self::Aggregate(Aggregate::udf(bound, signature)),
        }
    }
}
