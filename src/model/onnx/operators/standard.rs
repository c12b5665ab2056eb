//! Operators beside those of ai.onnx.ml that exporters use and tract lacks: distances, and outputs that are lists.

use std::sync::Arc;

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::{Batch, Built, Fact, Prepared, attribute, batch, slice, text};
use crate::model::kernel::distance::{Metric, Points, Real};

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
    batch(Distances { metric, by_point, fixed: None })
}

/// Points that are constants of the graph.
#[derive(Debug)]
enum Fixed {
    Singles(Points<f32>),
    Doubles(Points<f64>),
}

impl Fixed {
    fn fact(&self) -> Fact {
        let (kind, count, width) = match self {
            Self::Singles(points) => (f32::datum_type(), points.count(), points.width()),
            Self::Doubles(points) => (f64::datum_type(), points.count(), points.width()),
        };
        (kind, tvec!(count.to_dim(), width.to_dim()))
    }
}

fn points<T: Datum + Real>(tensor: &Tensor) -> TractResult<Points<T>> {
    Ok(Points::new(slice::<T>(tensor)?, tensor.shape().last().copied().unwrap_or(0)))
}

/// `[rows, n]` and `[points, n]` become `[rows, points]`, or turned around. Constant points are laid out once, not per call.
#[derive(Debug)]
struct Distances {
    metric: Metric,
    by_point: bool,
    fixed: Option<Fixed>,
}

impl Distances {
    fn of<T: Datum + Real>(&self, rows: &Tensor, points: &Points<T>) -> TractResult<Tensor> {
        let out = points.distances(self.metric, slice::<T>(rows)?);
        let out = tensor1(&out).into_shape(&[rows.shape()[0], points.count()])?;
        if self.by_point { out.permute_axes(&[1, 0]) } else { Ok(out) }
    }
}

impl Batch for Distances {
    fn name(&self) -> &'static str {
        "CDist"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let fixed = self.fixed.as_ref().map(Fixed::fact);
        let (([(kind, rows), (other, points)], _) | ([(kind, rows)], Some((other, points)))) = (inputs, &fixed) else {
            bail!("takes two inputs, not {}", inputs.len())
        };
        ensure!(kind == other && kind.is_float(), "distances of {kind:?} from {other:?} are not supported");
        ensure!(rows.len() == 2 && points.len() == 2 && rows[1] == points[1], "distances need points as wide as the rows");
        ensure!(rows[1].to_usize()? > 0, "distances need rows of one number at least");
        let (rows, points) = (rows[0].clone(), points[0].clone());
        Ok(tvec!((*kind, if self.by_point { tvec!(points, rows) } else { tvec!(rows, points) })))
    }
    fn with_constants(&self, constants: &[Option<Arc<Tensor>>]) -> TractResult<Option<Prepared>> {
        let [None, Some(given)] = constants else { return Ok(None) };
        let fixed = match given.datum_type() {
            DatumType::F64 => Fixed::Doubles(points(given)?),
            DatumType::F32 => Fixed::Singles(points(given)?),
            _ => return Ok(None),
        };
        let distances = Self { metric: self.metric, by_point: self.by_point, fixed: Some(fixed) };
        Ok(Some((Arc::new(distances), tvec!(0))))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let out = match (&self.fixed, inputs.as_slice()) {
            (Some(Fixed::Singles(points)), [rows]) => self.of(rows, points)?,
            (Some(Fixed::Doubles(points)), [rows]) => self.of(rows, points)?,
            (None, [rows, given]) if rows.datum_type() == f64::datum_type() => self.of::<f64>(rows, &points(given)?)?,
            (None, [rows, given]) => self.of::<f32>(rows, &points(given)?)?,
            _ => bail!("distances of {} inputs are not supported", inputs.len()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_points_are_laid_out_once_and_measure_the_same() {
        let (rows, given) = (tensor2(&[[0f32, 0.0], [3.0, -4.0]]), tensor2(&[[3f32, 4.0], [0.0, 1.0], [3.0, -4.0]]));
        for by_point in [false, true] {
            let each_time = Distances { metric: Metric::Squared, by_point, fixed: None };
            let (once, kept) = each_time.with_constants(&[None, Some(Arc::new(given.clone()))]).unwrap().unwrap();
            assert_eq!(kept.as_slice(), [0]);
            let rows = || rows.clone().into_tvalue();
            let wanted = each_time.run(tvec!(rows(), given.clone().into_tvalue())).unwrap();
            assert_eq!(once.run(tvec!(rows())).unwrap(), wanted);
            let fact = |shape: [usize; 2]| (f32::datum_type(), shape.iter().map(|d| d.to_dim()).collect());
            let outputs = once.outputs(&[fact([2, 2])]).unwrap();
            assert_eq!(outputs, each_time.outputs(&[fact([2, 2]), fact([3, 2])]).unwrap());
            assert!(once.outputs(&[fact([2, 3])]).is_err());
        }
    }
}
