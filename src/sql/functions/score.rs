//! `score`, `classify` and `predict` as SQL knows them: names, argument checks and types.
//!
//! They are never invoked: [`crate::sql::plan::lift`] takes every call out of its expression and makes it a column of a
//! `Score` node, which runs a model once per row and call. Volatile, so that no rule folds or merges a call before that.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::Error;
use crate::model::Function;
use crate::model::answer::return_type;
use crate::sql::types::sql_type;

/// The function as DataFusion registers it.
#[must_use]
pub fn udf(function: Function) -> ScalarUDF {
    ScalarUDF::new_from_impl(Call { function, signature: Signature::user_defined(Volatility::Volatile) })
}

/// The function and arguments (model first), if `expr` is a call of one of ours.
#[must_use]
pub fn as_call(expr: &Expr) -> Option<(Function, &[Expr])> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let ours = call.func.inner().downcast_ref::<Call>()?;
    Some((ours.function, &call.args))
}

/// Checks number and types of a call's arguments, as far as they do not depend on the model.
///
/// # Errors
/// `User` if there is no name of a model, or no feature.
pub fn check_arguments(function: Function, types: &[&DataType]) -> crate::Result<()> {
    let name = function.name();
    let wrong = |text: String| {
        let hint = format!("Write {name}('model', feature, ...); SELECT name, inputs FROM models shows what each takes.");
        Err(Error::user(text).hint(hint))
    };
    match types {
        [] => wrong(format!("{name}() needs a model's name and features")),
        [model, ..] if !is_text(model) => {
            wrong(format!("the first argument of {name}() is not a model's name but {}", sql_type(model)))
        }
        [_] => wrong(format!("{name}() has no features")),
        _ => Ok(()),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Call {
    function: Function,
    signature: Signature,
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        self.function.name()
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(return_type(self.function))
    }
    /// Checks the arguments here and not in `coerce_types`, whose errors DataFusion replaces by its own.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<&DataType> = args.arg_fields.iter().map(|field| field.data_type()).collect();
        check_arguments(self.function, &types)?;
        Ok(Arc::new(Field::new(self.name(), return_type(self.function), true)))
    }
    /// A model's name becomes VARCHAR; features stay as they are: binding them to a model's inputs is the operator's work.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let mut types = types.to_vec();
        if let Some(model) = types.first_mut()
            && is_text(model)
        {
            *model = DataType::Utf8;
        }
        Ok(types)
    }
    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("{}() was not lifted out of its expression", self.name())
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}
