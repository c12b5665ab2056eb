//! The SQL functions that are ours, in addition to DataFusion's.
//!
//! To add one: write it in a file here, then add one line to [`FUNCTIONS`]; SHOW FUNCTIONS and the docs read the same slice.

pub mod names;
pub mod random;
pub mod score;
pub mod time;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use crate::model::Function;
use crate::stream::EpochCell;

/// One of our functions.
#[derive(Debug, Clone, Copy)]
pub struct FunctionSpec {
    /// Its name in SQL.
    pub name: &'static str,
    /// How it is called and what it returns, for people.
    pub signature: &'static str,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
    /// Whether it replaces DataFusion's function of that name in queries that go on: jobs and EMIT CHANGES. A function for
    /// which this is false is there in every query.
    pub only_streaming: bool,
    /// Makes it; the cell is that of the query.
    pub build: fn(&Arc<EpochCell>) -> ScalarUDF,
}

/// All of them, in the order in which SHOW FUNCTIONS prints them.
pub const FUNCTIONS: &[FunctionSpec] = &[
    FunctionSpec {
        name: "score",
        signature: "score(model VARCHAR, feature, ...) -> DOUBLE",
        doc: "The model's number for the row: a regression's value, the probability of the second of two classes or of the \
              predicted one of more, an anomaly's decision score, the distance to the chosen cluster. 'fraud' is the newest \
              version that loaded, 'fraud:7' is version 7. Features are arguments in order, one list, or one struct by name.",
        only_streaming: false,
        build: |_| score::udf(Function::Score),
    },
    FunctionSpec {
        name: "classify",
        signature: "classify(model VARCHAR, feature, ...) -> VARCHAR",
        doc: "The class or cluster that the model predicts for the row.",
        only_streaming: false,
        build: |_| score::udf(Function::Classify),
    },
    FunctionSpec {
        name: "predict",
        signature: "predict(model VARCHAR, feature, ...) -> STRUCT",
        doc: "Everything that the model says about the row (score, label, probabilities, outputs) and which version said it \
              (model, version, sha256, registry_offset). The type is the same for every model.",
        only_streaming: false,
        build: |_| score::udf(Function::Predict),
    },
    FunctionSpec {
        name: "uniform",
        signature: "uniform(n BIGINT, salt BIGINT or VARCHAR) -> DOUBLE",
        doc: "A number in [0, 1) that is always the same for the same n and salt, and looks random over either.",
        only_streaming: false,
        build: |_| random::udf(random::Distribution::Uniform),
    },
    FunctionSpec {
        name: "normal",
        signature: "normal(n BIGINT, salt BIGINT or VARCHAR) -> DOUBLE",
        doc: "Like uniform, but normally distributed with mean 0 and standard deviation 1.",
        only_streaming: false,
        build: |_| random::udf(random::Distribution::Normal),
    },
    FunctionSpec {
        name: "now",
        signature: "now() -> TIMESTAMP",
        doc: "The present time in UTC; also current_timestamp. In a running query: the time of the epoch.",
        only_streaming: true,
        build: |cell| time::udf(time::Part::Timestamp, cell),
    },
    FunctionSpec {
        name: "current_date",
        signature: "current_date() -> DATE",
        doc: "The present date in UTC; also today(). In a running query: the date of the epoch.",
        only_streaming: true,
        build: |cell| time::udf(time::Part::Date, cell),
    },
    FunctionSpec {
        name: "current_time",
        signature: "current_time() -> TIME",
        doc: "The present time of day in UTC. In a running query: that of the epoch.",
        only_streaming: true,
        build: |cell| time::udf(time::Part::Time, cell),
    },
];
