//! FeatureVectorizer, ArrayFeatureExtractor and ZipMap: columns put together, picked, and named.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::array::Gather;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_hir::internal::*;

use super::{Batch, Built, Fact, batch, class_names, integers, is_number, singles, slice};

pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert("FeatureVectorizer", feature_vectorizer);
    operators.insert("ArrayFeatureExtractor", |_, _| Ok((expand(Extractor), vec![])));
    operators.insert("ZipMap", |_, node| {
        let names = class_names(node, "classlabels_int64s", "classlabels_strings")?;
        ensure!(names.len() > 0, "a ZipMap needs class labels");
        batch(Named { columns: names.len() })
    });
}

fn feature_vectorizer(_: &ParsingContext, node: &NodeProto) -> Built {
    let widths =
        integers(node, "inputdimensions").iter().map(|n| Ok(usize::try_from(*n)?)).collect::<TractResult<Vec<_>>>()?;
    ensure!(
        widths.len() == node.input.len(),
        "a FeatureVectorizer has {} widths for {} inputs",
        widths.len(),
        node.input.len()
    );
    // The growth check knows nothing of this attribute, so it is bounded here.
    ensure!(
        widths.iter().try_fold(0usize, |sum, w| sum.checked_add(*w)).is_some_and(|w| w <= 1 << 20),
        "it would be too wide"
    );
    batch(Vectorizer { widths })
}

/// Numbers of several inputs side by side as FLOAT; what is wider than it should be is cut, what is narrower filled with 0.
#[derive(Debug)]
struct Vectorizer {
    widths: Vec<usize>,
}

impl Batch for Vectorizer {
    fn name(&self) -> &'static str {
        "FeatureVectorizer"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let total: usize = self.widths.iter().sum();
        let rows = inputs.first().and_then(|(_, shape)| shape.first()).context("needs an input with rows")?;
        for (kind, shape) in inputs {
            ensure!(is_number(*kind), "a FeatureVectorizer of type {kind:?} is not supported");
            ensure!(shape.len() >= 2 && shape[0] == *rows, "a FeatureVectorizer needs inputs of the same rows");
        }
        Ok(tvec!((f32::datum_type(), tvec!(rows.clone(), total.to_dim()))))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let total: usize = self.widths.iter().sum();
        let rows = inputs.first().map_or(0, |i| i.shape()[0]);
        let mut out = vec![0f32; rows * total];
        let mut start = 0;
        for (input, wanted) in inputs.iter().zip(&self.widths) {
            let numbers = singles(input)?;
            let width: usize = input.shape()[1..].iter().product();
            if width > 0 && total > 0 {
                let rows = out.chunks_exact_mut(total).zip(slice::<f32>(&numbers)?.chunks_exact(width));
                for (out, given) in rows {
                    out[start..start + wanted].iter_mut().zip(given).for_each(|(out, x)| *out = *x);
                }
            }
            start += wanted;
        }
        Ok(tvec!(tensor1(&out).into_shape(&[rows, total])?.into_tvalue()))
    }
}

/// Columns of the last axis, in the order of a list of indices of any shape. A plain list counts as one row.
#[derive(Debug, Clone)]
struct Extractor;

impl Expansion for Extractor {
    fn name(&self) -> StaticName {
        "ArrayFeatureExtractor".into()
    }
    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 2)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, &inputs[0].datum_type)?;
        solver.given_2(&inputs[0].shape, &inputs[1].shape, move |solver, values, indices| {
            ensure!(!values.is_empty(), "an ArrayFeatureExtractor of a single value is not supported");
            let count: TDim = indices.iter().product();
            let mut shape: TVec<TDim> =
                if values.len() == 1 { tvec!(1.to_dim()) } else { values[..values.len() - 1].into() };
            shape.push(count);
            solver.equals(&outputs[0].shape, shape)
        })
    }
    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        use tract_onnx::tract_core::ops::cast::cast;
        let (mut values, mut indices) = (inputs[0], inputs[1]);
        let shape: TVec<TDim> = model.outlet_fact(indices)?.shape.iter().cloned().collect();
        if model.outlet_fact(indices)?.datum_type != i64::datum_type() {
            indices = model.wire_node(format!("{prefix}.i64"), cast(i64::datum_type()), &[indices])?[0];
        }
        if shape.len() != 1 {
            let count: TDim = shape.iter().product();
            let flat = AxisOp::Reshape(0, shape, tvec!(count));
            indices = model.wire_node(format!("{prefix}.flat"), flat, &[indices])?[0];
        }
        if model.outlet_fact(values)?.rank() == 1 {
            values = model.wire_node(format!("{prefix}.row"), AxisOp::Add(0), &[values])?[0];
        }
        let axis = model.outlet_fact(values)?.rank() - 1;
        model.wire_node(prefix, Gather { axis, output_type: None }, &[values, indices])
    }
}

/// A map per row stays a tensor: the signature knows the names of its columns.
#[derive(Debug)]
struct Named {
    columns: usize,
}

impl Batch for Named {
    fn name(&self) -> &'static str {
        "ZipMap"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [fact] = inputs else { bail!("takes one input, not {}", inputs.len()) };
        ensure!(fact.0 == f32::datum_type(), "a ZipMap of type {:?} is not supported", fact.0);
        let columns = fact.1.last().filter(|_| fact.1.len() == 2).context("a ZipMap needs rows of columns")?.to_usize()?;
        ensure!(columns == self.columns, "a ZipMap of {} names meets {columns} columns", self.columns);
        Ok(tvec!(fact.clone()))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Ok(inputs)
    }
}
