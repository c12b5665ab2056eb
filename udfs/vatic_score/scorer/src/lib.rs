//! vatic's scorer for functions that run elsewhere.   bytes of a model ─► [`Model`] ─► `score`, `classify`: a row in, an answer out
//!
//! `src/model.rs` here is vatic's own `src/model/`, file by file, so that a model means the same in both: the same checks when it is
//! loaded, the same kernels, the same answer of NULL, the same errors.

mod error;
#[rustfmt::skip] // its files are vatic's
mod model;

use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, StringArray,
};
use arrow::datatypes::{DataType, Float64Type};

use error::Explain;
use model::answer::{ModelIdentity, check, score_batch};
use model::features::{Binding, Feature, bind};
use model::{Function, Loaded, ModelError};

/// A value of a row; `None` is NULL. Made with `into()`.
#[derive(Debug, Clone)]
pub struct Value(ArrayRef);

macro_rules! values {
    ($($from:ty => $array:ty),*) => {$(
        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self(Arc::new(<$array>::from(vec![value])))
            }
        }
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Some(value).into()
            }
        }
    )*};
}
values!(f64 => Float64Array, f32 => Float32Array, i64 => Int64Array, i32 => Int32Array, bool => BooleanArray, &str => StringArray);

/// A model, ready to score. Share it: `static MODEL: LazyLock<Model>`.
#[derive(Debug)]
pub struct Model {
    loaded: Loaded,
    /// How arguments of these types become the model's inputs; of the last call, as those of a function do not change.
    bound: RwLock<Option<(Function, Vec<DataType>, Arc<Binding>)>>,
}

/// Which model it is, in errors.
const IDENTITY: ModelIdentity<'static> = ModelIdentity { name: "model", version: 0, sha256: "", offset: 0 };

impl Model {
    /// Loads a model from the bytes of its file.
    ///
    /// # Errors
    /// Why it cannot be used, as `vatic inspect` says it.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        let (_, loaded) = model::load_any(bytes).map_err(text)?;
        Ok(Self { loaded, bound: RwLock::default() })
    }

    /// What vatic's `score('model', row...)` gives: NULL where a value is NULL that the model needs.
    ///
    /// # Errors
    /// If number or types of the values do not fit, or the model fails on them.
    pub fn score(&self, row: &[Value]) -> Result<Option<f64>, String> {
        let answer = self.answer(Function::Score, row)?;
        Ok(answer.as_primitive_opt::<Float64Type>().filter(|a| a.is_valid(0)).map(|a| a.value(0)))
    }

    /// What vatic's `classify('model', row...)` gives.
    ///
    /// # Errors
    /// As [`Model::score`], and for models without classes.
    pub fn classify(&self, row: &[Value]) -> Result<Option<String>, String> {
        let answer = self.answer(Function::Classify, row)?;
        Ok(answer.as_string_opt::<i32>().filter(|a| a.is_valid(0)).map(|a| a.value(0).to_owned()))
    }

    fn answer(&self, function: Function, row: &[Value]) -> Result<ArrayRef, String> {
        let binding = self.binding(function, row)?;
        let values: Vec<ArrayRef> = row.iter().map(|value| Arc::clone(&value.0)).collect();
        let mut scored = score_batch(&self.loaded, &IDENTITY, &binding, &[function], &values).map_err(text)?;
        match scored.failures.pop() {
            Some((_, error)) => Err(text(error)),
            None => scored.answers.pop().ok_or_else(|| "the model gave no answer".to_owned()),
        }
    }

    fn binding(&self, function: Function, row: &[Value]) -> Result<Arc<Binding>, String> {
        let types = || row.iter().map(|value| value.0.data_type());
        if let Some((of, bound, binding)) = &*self.bound.read().unwrap_or_else(PoisonError::into_inner)
            && *of == function
            && bound.iter().eq(types())
        {
            return Ok(Arc::clone(binding));
        }
        check(IDENTITY.name, function, &self.loaded.signature).map_err(text)?;
        let features: Vec<Feature> = types().map(|t| Feature { name: None, data_type: t.clone() }).collect();
        let binding = Arc::new(bind(IDENTITY.name, &features, &self.loaded.signature).map_err(text)?);
        let bound = (function, types().cloned().collect(), Arc::clone(&binding));
        *self.bound.write().unwrap_or_else(PoisonError::into_inner) = Some(bound);
        Ok(binding)
    }
}

/// An error with what to do about it.
fn text(error: ModelError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}. {hint}"),
        None => error.to_string(),
    }
}
