//! LinearRegressor and LinearClassifier.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::{Batch, Built, Fact, batch, class_names, floats, integer, matrix, pick, singles, slice, text};
use crate::model::kernel::linear::{Linear, LinearClassifier};
use crate::model::kernel::post::Post;

pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert("LinearRegressor", regressor);
    operators.insert("LinearClassifier", classifier);
}

/// The transform that the node asks for.
pub(super) fn post(node: &NodeProto) -> TractResult<Post> {
    let name = text(node, "post_transform", "NONE")?;
    Post::named(name).with_context(|| format!("post_transform {name} is not known"))
}

fn linear(node: &NodeProto, outputs: usize, intercepts: &[f32]) -> TractResult<Linear> {
    let coefficients = floats(node, "coefficients");
    Linear::new(coefficients, intercepts)
        .with_context(|| format!("{} coefficients for {outputs} outputs do not fit", coefficients.len()))
}

fn regressor(_: &ParsingContext, node: &NodeProto) -> Built {
    let targets = usize::try_from(integer(node, "targets", 1))?;
    let most = floats(node, "coefficients").len();
    ensure!((1..=most).contains(&targets), "{most} coefficients for {targets} targets do not fit");
    // Intercepts of another number are none, as in ONNX Runtime.
    let none = vec![0.0; targets];
    let intercepts = Some(floats(node, "intercepts")).filter(|i| i.len() == targets).unwrap_or(&none);
    batch(Regressor { linear: linear(node, targets, intercepts)?, post: post(node)? })
}

fn classifier(_: &ParsingContext, node: &NodeProto) -> Built {
    let names = class_names(node, "classlabels_ints", "classlabels_strings")?;
    let (intercepts, post) = (floats(node, "intercepts"), post(node)?);
    let none = vec![0.0; names.len()];
    let intercepts = if intercepts.is_empty() { &none } else { intercepts };
    let (outputs, second) = (intercepts.len(), intercepts.len() == 1);
    let fits = if second { names.len() == 2 } else { names.len() >= outputs };
    ensure!(fits, "{} class labels for {outputs} scores do not fit", names.len());
    ensure!(!second || post != Post::Probit, "PROBIT of one score for two classes leaves the other undefined");
    batch(Classifier { model: LinearClassifier::new(linear(node, outputs, intercepts)?, post, second), names })
}

#[derive(Debug)]
struct Regressor {
    linear: Linear,
    post: Post,
}

impl Batch for Regressor {
    fn name(&self) -> &'static str {
        "LinearRegressor"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let rows = rows_of(inputs, self.linear.features())?;
        Ok(tvec!((f32::datum_type(), tvec!(rows, self.linear.outputs().to_dim()))))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = singles(&inputs[0])?;
        let mut scores = vec![];
        self.linear.run(slice(&x)?, &mut scores);
        self.post.apply(&mut scores, self.linear.outputs());
        Ok(tvec!(tensor1(&scores).into_shape(&[x.shape()[0], self.linear.outputs()])?.into_tvalue()))
    }
}

#[derive(Debug)]
struct Classifier {
    model: LinearClassifier,
    names: Tensor,
}

impl Batch for Classifier {
    fn name(&self) -> &'static str {
        "LinearClassifier"
    }
    fn output_count(&self) -> usize {
        2
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let rows = rows_of(inputs, self.model.linear().features())?;
        Ok(labels_and_scores(&self.names, rows, self.model.outputs()))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = singles(&inputs[0])?;
        classified(&self.names, x.shape()[0], self.model.run(slice(&x)?))
    }
}

/// The number of rows, if these have `features` columns.
pub(super) fn rows_of(inputs: &[Fact], features: usize) -> TractResult<TDim> {
    let [input] = inputs else { bail!("takes one input, not {}", inputs.len()) };
    let (rows, columns) = matrix("a model", input)?;
    ensure!(columns == features, "a model of {features} features meets {columns}");
    Ok(rows.clone())
}

/// The outputs of a classifier.
pub(super) fn labels_and_scores(names: &Tensor, rows: TDim, scores: usize) -> TVec<Fact> {
    tvec!((names.datum_type(), tvec!(rows.clone())), (f32::datum_type(), tvec!(rows, scores.to_dim())))
}

/// The outputs of a classifier from the classes' numbers and scores.
pub(super) fn classified(names: &Tensor, rows: usize, result: (Vec<u32>, Vec<f32>)) -> TractResult<TVec<TValue>> {
    let (winners, scores) = result;
    let width = scores.len().checked_div(rows).unwrap_or(1);
    let labels = pick(names, &winners, &[rows])?;
    Ok(tvec!(labels.into_tvalue(), tensor1(&scores).into_shape(&[rows, width])?.into_tvalue()))
}
