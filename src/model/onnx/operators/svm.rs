//! SVMRegressor and SVMClassifier.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::linear::{classified, labels_and_scores, post, rows_of};
use super::{Batch, Built, Fact, batch, class_names, floats, integer, integers, singles, slice, text};
use crate::model::kernel::svm::{Kernel, SvmClassifier, SvmParts, SvmRegressor, Vectors};

pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert("SVMRegressor", regressor);
    operators.insert("SVMClassifier", classifier);
}

fn kernel(node: &NodeProto) -> TractResult<Kernel> {
    let (gamma, coef0, degree) = match floats(node, "kernel_params") {
        [] => (0.0, 0.0, 0.0),
        [gamma, coef0, degree] => (*gamma, *coef0, *degree),
        other => bail!("kernel_params has {} numbers, not 3", other.len()),
    };
    Ok(match text(node, "kernel_type", "LINEAR")? {
        "LINEAR" => Kernel::Linear,
        "POLY" => Kernel::Poly { gamma, coef0, degree },
        "RBF" => Kernel::Rbf { gamma },
        "SIGMOID" => Kernel::Sigmoid { gamma, coef0 },
        other => bail!("kernel_type {other} is not known"),
    })
}

fn vectors(node: &NodeProto, count: usize) -> TractResult<Vectors> {
    let given = floats(node, "support_vectors");
    Vectors::new(kernel(node)?, given, count)
        .with_context(|| format!("{} numbers for {count} support vectors do not fit", given.len()))
}

fn regressor(_: &ParsingContext, node: &NodeProto) -> Built {
    let count = usize::try_from(integer(node, "n_supports", 0))?;
    let rho = floats(node, "rho").first().context("there is no rho")?;
    let vectors = if count == 0 { None } else { Some(vectors(node, count)?) };
    let one_class = integer(node, "one_class", 0) != 0;
    let model = SvmRegressor::new(vectors, floats(node, "coefficients"), *rho, one_class);
    batch(Regressor { model: model.context("the coefficients are not those of the support vectors")? })
}

fn classifier(_: &ParsingContext, node: &NodeProto) -> Built {
    let names = class_names(node, "classlabels_ints", "classlabels_strings")?;
    ensure!(names.len() > 0, "needs class labels");
    let per_class =
        integers(node, "vectors_per_class").iter().map(|n| Ok(usize::try_from(*n)?)).collect::<TractResult<Vec<_>>>()?;
    let count = per_class.iter().try_fold(0usize, |sum, n| sum.checked_add(*n)).context("too many support vectors")?;
    let (a, b) = (floats(node, "prob_a"), floats(node, "prob_b"));
    ensure!(a.len() == b.len(), "prob_a and prob_b are not of one length");
    let parts = SvmParts {
        classes: names.len(),
        vectors: if count == 0 { None } else { Some((vectors(node, count)?, &per_class)) },
        coefficients: floats(node, "coefficients"),
        rho: floats(node, "rho"),
        probabilities: a.iter().copied().zip(b.iter().copied()).collect(),
        post: post(node)?,
    };
    let model = SvmClassifier::new(parts).map_err(|reason| format_err!("{reason}"))?;
    batch(Classifier { model, names })
}

#[derive(Debug)]
struct Regressor {
    model: SvmRegressor,
}

impl Batch for Regressor {
    fn name(&self) -> &'static str {
        "SVMRegressor"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        Ok(tvec!((f32::datum_type(), tvec!(rows_of(inputs, self.model.features())?, 1.to_dim()))))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = singles(&inputs[0])?;
        Ok(tvec!(tensor1(&self.model.run(slice(&x)?)).into_shape(&[x.shape()[0], 1])?.into_tvalue()))
    }
}

#[derive(Debug)]
struct Classifier {
    model: SvmClassifier,
    names: Tensor,
}

impl Batch for Classifier {
    fn name(&self) -> &'static str {
        "SVMClassifier"
    }
    fn output_count(&self) -> usize {
        2
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        Ok(labels_and_scores(&self.names, rows_of(inputs, self.model.features())?, self.model.outputs()))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = singles(&inputs[0])?;
        classified(&self.names, x.shape()[0], self.model.run(slice(&x)?))
    }
}
