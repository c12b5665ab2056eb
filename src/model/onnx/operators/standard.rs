//! Operators beside those of ai.onnx.ml that exporters use and tract lacks: distances, and outputs that are lists.

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::{Batch, Built, Fact, attribute, batch, slice, text};
use crate::model::kernel::distance::{Metric, Real, distances};

/// A node that `rewrite.rs` puts in the place of a Scan that computes distances; no file can contain it.
pub(in crate::model::onnx) const DISTANCES: &str = "VaticDistances";

pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert("CDist", |_, node| distance(node, false));
    operators.insert(DISTANCES, |_, node| distance(node, true));
    operators.insert("SequenceConstruct", |_, _| batch(Lists));
    operators.insert("Celu", |_, node| batch(Celu(attribute(node, "alpha").map_or(1.0, |a| a.f))));
}

fn distance(node: &NodeProto, by_point: bool) -> Built {
    let metric = match text(node, "metric", "sqeuclidean")? {
        "sqeuclidean" => Metric::Squared,
        "euclidean" => Metric::Euclidean,
        "manhattan" if by_point => Metric::Manhattan,
        other => bail!("metric {other} is not known"),
    };
    batch(Distances { metric, by_point })
}

/// `[rows, n]` and `[points, n]` become `[rows, points]`, or turned around.
#[derive(Debug)]
struct Distances {
    metric: Metric,
    by_point: bool,
}

impl Distances {
    fn of<T: Datum + Real>(&self, rows: &Tensor, points: &Tensor) -> TractResult<Tensor> {
        let (count, given) = (points.shape()[0], rows.shape()[0]);
        let out = distances(self.metric, slice::<T>(rows)?, slice::<T>(points)?, rows.shape()[1]);
        let out = tensor1(&out).into_shape(&[given, count])?;
        if self.by_point { out.permute_axes(&[1, 0]) } else { Ok(out) }
    }
}

impl Batch for Distances {
    fn name(&self) -> &'static str {
        "CDist"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(kind, rows), (other, points)] = inputs else { bail!("takes two inputs, not {}", inputs.len()) };
        ensure!(kind == other && kind.is_float(), "distances of {kind:?} from {other:?} are not supported");
        ensure!(rows.len() == 2 && points.len() == 2 && rows[1] == points[1], "distances need points as wide as the rows");
        ensure!(rows[1].to_usize()? > 0, "distances need rows of one number at least");
        let (rows, points) = (rows[0].clone(), points[0].clone());
        Ok(tvec!((*kind, if self.by_point { tvec!(points, rows) } else { tvec!(rows, points) })))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (rows, points) = args_2!(inputs);
        let out = match rows.datum_type() {
            DatumType::F64 => self.of::<f64>(&rows, &points)?,
            DatumType::F32 => self.of::<f32>(&rows, &points)?,
            other => bail!("distances of {other:?} are not supported"),
        };
        Ok(tvec!(out.into_tvalue()))
    }
}

/// A list of one tensor per target (scikit-learn's MultiOutputClassifier): their columns side by side, a target's behind
/// those of the one before it.
#[derive(Debug)]
struct Lists;

impl Batch for Lists {
    fn name(&self) -> &'static str {
        "SequenceConstruct"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let (kind, shape) = inputs.first().context("a list of nothing is not supported")?;
        ensure!(shape.len() == 2, "a list of tensors of {} dimensions is not supported", shape.len());
        let same = |f: &Fact| f.0 == *kind && f.1.len() == 2 && f.1[0] == shape[0];
        ensure!(inputs.iter().all(same), "a list of tensors of several types or heights is not supported");
        Ok(tvec!((*kind, tvec!(shape[0].clone(), inputs.iter().map(|(_, shape)| shape[1].clone()).sum()))))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let tensors: Vec<&Tensor> = inputs.iter().map(|i| &**i).collect();
        Ok(tvec!(Tensor::stack_tensors(1, &tensors)?.into_tvalue()))
    }
}

/// `x` above 0, below it `alpha (exp(x / alpha) - 1)`: tract's own forgets the division.
#[derive(Debug)]
struct Celu(f32);

impl Batch for Celu {
    fn name(&self) -> &'static str {
        "Celu"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [fact] = inputs else { bail!("takes one input, not {}", inputs.len()) };
        ensure!(fact.0 == f32::datum_type(), "a Celu of type {:?} is not supported", fact.0);
        Ok(tvec!(fact.clone()))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut tensor = args_1!(inputs).into_tensor();
        let mut view = tensor.try_as_plain_ram_mut()?;
        for x in view.as_slice_mut::<f32>()?.iter_mut().filter(|x| **x < 0.0) {
            *x = self.0 * (*x / self.0).exp_m1();
        }
        Ok(tvec!(tensor.into_tvalue()))
    }
}
