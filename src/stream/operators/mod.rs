//! The physical operators that DataFusion does not have.

pub mod score;
