//! Scaler, Imputer, Normalizer and Binarizer: numbers to numbers of the same shape.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::{
    Batch, Built, Fact, attribute, batch, floats, integer, integers, is_number, matrix, singles, slice, text, width,
};
use crate::model::kernel::prepare::{Imputer, Norm, Scaler};

pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert("Scaler", |_, node| scaler(node));
    operators.insert("Imputer", imputer);
    operators.insert("Normalizer", |_, node| normalizer(node));
    operators.insert("Binarizer", |_, node| batch(Threshold(attribute(node, "threshold").map_or(0.0, |a| a.f))));
}

fn scaler(node: &NodeProto) -> Built {
    let (offset, scale) = (floats(node, "offset").to_vec(), floats(node, "scale").to_vec());
    ensure!(!offset.is_empty() && offset.len() == scale.len(), "offset and scale are not of one length");
    batch(Scaler { offset, scale })
}

fn imputer(_: &ParsingContext, node: &NodeProto) -> Built {
    let (singles, whole) = (floats(node, "imputed_value_floats"), integers(node, "imputed_value_int64s"));
    ensure!(singles.is_empty() != whole.is_empty(), "needs values either of numbers or of integers");
    batch(Gaps {
        floats: Imputer { values: singles.to_vec(), missing: attribute(node, "replaced_value_float").map_or(0.0, |a| a.f) },
        integers: Imputer { values: whole.to_vec(), missing: integer(node, "replaced_value_int64", 0) },
    })
}

fn normalizer(node: &NodeProto) -> Built {
    batch(match text(node, "norm", "MAX")? {
        "MAX" => Norm::Max,
        "L1" => Norm::L1,
        "L2" => Norm::L2,
        other => bail!("norm {other} is not known"),
    })
}

/// The one input, if a value per column fits it.
fn by_column(what: &str, inputs: &[Fact], values: usize) -> TractResult<Fact> {
    let [input] = inputs else { bail!("takes one input, not {}", inputs.len()) };
    ensure!(is_number(input.0), "{what} of type {:?} is not supported", input.0);
    if values > 1 {
        let (_, columns) = matrix(what, input)?;
        ensure!(columns == values, "{what} of {values} columns meets {columns}");
    }
    Ok(input.clone())
}

impl Batch for Scaler {
    fn name(&self) -> &'static str {
        "Scaler"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let (_, shape) = by_column("a Scaler", inputs, self.offset.len())?;
        Ok(tvec!((f32::datum_type(), shape)))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        if input.datum_type() == f64::datum_type() {
            let scaled = Scaler::run_double(self, slice(&input)?);
            return Ok(tvec!(tensor1(&scaled).into_shape(input.shape())?.into_tvalue()));
        }
        let width = width(input.shape());
        let mut tensor = match input.datum_type() {
            DatumType::F32 => input.into_tensor(),
            _ => singles(&input)?.into_owned(),
        };
        Scaler::run(self, tensor.try_as_plain_ram_mut()?.as_slice_mut()?, width);
        Ok(tvec!(tensor.into_tvalue()))
    }
}

/// An Imputer, of numbers or of integers: the other one has no values.
#[derive(Debug)]
struct Gaps {
    floats: Imputer<f32>,
    integers: Imputer<i64>,
}

impl Batch for Gaps {
    fn name(&self) -> &'static str {
        "Imputer"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let values = self.floats.values.len().max(self.integers.values.len());
        // One value per column, or the first of them for all.
        let fact = by_column("an Imputer", inputs, 1)?;
        ensure!(values == 1 || fact.1.len() == 2, "an Imputer of a tensor of {} dimensions is not supported", fact.1.len());
        let wanted = if self.integers.values.is_empty() { fact.0.is_float() } else { fact.0 == i64::datum_type() };
        ensure!(wanted, "an Imputer with values of another type than {:?} is not supported", fact.0);
        Ok(tvec!(fact))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut tensor = args_1!(inputs).into_tensor();
        let width = width(tensor.shape());
        let kind = tensor.datum_type();
        let mut view = tensor.try_as_plain_ram_mut()?;
        if kind == i64::datum_type() {
            self.integers.run(view.as_slice_mut()?, width);
        } else if kind == f32::datum_type() {
            self.floats.run(view.as_slice_mut()?, width);
        } else {
            let values = self.floats.values.iter().map(|v| f64::from(*v)).collect();
            Imputer { values, missing: f64::from(self.floats.missing) }.run(view.as_slice_mut::<f64>()?, width);
        }
        Ok(tvec!(tensor.into_tvalue()))
    }
}

impl Batch for Norm {
    fn name(&self) -> &'static str {
        "Normalizer"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let fact = by_column("a Normalizer", inputs, 1)?;
        matrix("a Normalizer", &fact)?;
        Ok(tvec!((f32::datum_type(), fact.1)))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (input, mut out) = (&inputs[0], vec![]);
        let width = width(input.shape());
        match input.datum_type() {
            DatumType::F32 => Norm::run(*self, slice::<f32>(input)?, width, &mut out),
            DatumType::F64 => Norm::run(*self, slice::<f64>(input)?, width, &mut out),
            DatumType::I64 => Norm::run(*self, slice::<i64>(input)?, width, &mut out),
            DatumType::I32 => Norm::run(*self, slice::<i32>(input)?, width, &mut out),
            _ => {
                let numbers = singles(input)?;
                Norm::run(*self, slice::<f32>(&numbers)?, width, &mut out);
            }
        }
        Ok(tvec!(tensor1(&out).into_shape(input.shape())?.into_tvalue()))
    }
}

/// A Binarizer: 1 above the threshold, else 0. NaN is an error, as in ONNX Runtime.
#[derive(Debug)]
struct Threshold(f32);

impl Batch for Threshold {
    fn name(&self) -> &'static str {
        "Binarizer"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let fact = by_column("a Binarizer", inputs, 1)?;
        ensure!(fact.0 == f32::datum_type(), "a Binarizer of type {:?} is not supported", fact.0);
        Ok(tvec!(fact))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut tensor = args_1!(inputs).into_tensor();
        let mut view = tensor.try_as_plain_ram_mut()?;
        for x in view.as_slice_mut::<f32>()? {
            ensure!(!x.is_nan(), "a Binarizer does not take NaN");
            *x = if *x > self.0 { 1.0 } else { 0.0 };
        }
        Ok(tvec!(tensor.into_tvalue()))
    }
}
