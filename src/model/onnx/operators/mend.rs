//! Standard operators that tract has and computes otherwise than ONNX Runtime at some edge.
//!
//! | operator | what is mended |
//! |---|---|
//! | ReduceSum, ReduceMean, ReduceProd, ReduceL1, ReduceSumSquare of integers | tract adds them up in 32 bits |
//! | OneHot | an index out of range, or between two classes, is none of them: no panic, and no other class |
//! | Softplus, LogSoftmax, ReduceLogSumExp | the logarithm of what has already overflowed, or become 0 |
//! | Round | DOUBLE too |
//! | Resize | with aligned corners, a length that is no whole number is refused: tract rounds it before it measures |
//!
//! Where tract's own shapes are right, its operator stays in charge of them: see [`mended`].

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_hir::internal::*;

use super::{Batch, Built, Fact, Node, batch, integer, integers, pick, slice, text};

const REDUCTIONS: [&str; 6] = ["ReduceL1", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare"];

pub(super) fn register(operators: &mut OnnxOpRegister) {
    for name in REDUCTIONS.into_iter().chain(["OneHot", "Resize"]) {
        if let Some(builder) = operators.0.get(name).copied() {
            operators.0.insert(theirs(name), builder);
        }
    }
    for name in REDUCTIONS {
        operators.insert(name, reduction);
    }
    operators.insert("OneHot", one_hot);
    operators.insert("Resize", resize);
    operators.insert("Softplus", |_, _| batch(Each { name: "Softplus", single: softplus_f32, double: softplus }));
    operators
        .insert("Round", |_, _| batch(Each { name: "Round", single: f32::round_ties_even, double: f64::round_ties_even }));
    operators.insert("LogSoftmax", |context, node| {
        let flat = context.onnx_operator_set_version < 13;
        batch(LogSoftmax { axis: integer(node, "axis", if flat { 1 } else { -1 }), flat })
    });
}

/// The name that tract's own operator has beside ours; no file can contain it.
fn theirs(name: &str) -> String {
    format!("tract {name}")
}

/// What replaces an operator of tract's in a graph, for inputs where it should.
type Ours = dyn Fn(&str, &mut TypedModel, &[OutletId]) -> TractResult<Option<TVec<OutletId>>> + Send + Sync;

/// An operator of tract's with our computation in its place, where that wants to be.
#[derive(Clone)]
struct Mended {
    theirs: Box<dyn Expansion>,
    ours: Arc<Ours>,
}

fn mended(
    context: &ParsingContext,
    node: &NodeProto,
    ours: impl Fn(&str, &mut TypedModel, &[OutletId]) -> TractResult<Option<TVec<OutletId>>> + Send + Sync + 'static,
) -> Built {
    let builder = context.framework.op_register.0.get(&theirs(&node.op_type)).context("is not known")?;
    let (operator, names) = builder(context, node)?;
    let theirs = operator.as_op().downcast_ref::<Box<dyn Expansion>>().context("is not built as it was")?.clone();
    Ok((expand(Mended { theirs, ours: Arc::new(ours) }), names))
}

impl std::fmt::Debug for Mended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.theirs.fmt(f)
    }
}

impl Expansion for Mended {
    fn name(&self) -> StaticName {
        self.theirs.as_ref().name()
    }
    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.theirs.as_ref().rules(solver, inputs, outputs)
    }
    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        match (self.ours)(prefix, model, inputs)? {
            Some(outlets) => Ok(outlets),
            None => self.theirs.as_ref().wire(prefix, model, inputs),
        }
    }
}

/// An axis counted from the front.
fn from_front(axis: i64, rank: usize) -> TractResult<usize> {
    let counted = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(counted).ok().filter(|axis| *axis < rank).with_context(|| format!("there is no axis {axis} of {rank}"))
}

/// What a reduction adds up.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fold {
    Sum,
    Mean,
    Product,
    Sizes,
    Squares,
    /// Of floats, and the logarithm of the sum.
    Exponentials,
}

fn reduction(context: &ParsingContext, node: &NodeProto) -> Built {
    let fold = match node.op_type.as_str() {
        "ReduceSum" => Fold::Sum,
        "ReduceMean" => Fold::Mean,
        "ReduceProd" => Fold::Product,
        "ReduceL1" => Fold::Sizes,
        "ReduceLogSumExp" => Fold::Exponentials,
        _ => Fold::Squares,
    };
    let version = context.onnx_operator_set_version;
    let as_input = version >= 18 || (version >= 13 && fold == Fold::Sum);
    let given = integers(node, "axes").to_vec();
    let (keep, nothing) = (integer(node, "keepdims", 1) != 0, integer(node, "noop_with_empty_axes", 0) != 0);
    mended(context, node, move |prefix, model, inputs| {
        let fact = model.outlet_fact(inputs[0])?.clone();
        let ours = match fold {
            Fold::Exponentials => matches!(fact.datum_type, DatumType::F32 | DatumType::F64),
            _ => matches!(fact.datum_type, DatumType::I64 | DatumType::I32),
        };
        if !ours {
            return Ok(None);
        }
        let axes = match (as_input, inputs.get(1)) {
            (true, Some(axes)) => {
                let axes = model.outlet_fact(*axes)?.konst.clone().context("the axes are not constant")?;
                slice::<i64>(axes.cast_to::<i64>()?.as_ref())?.to_vec()
            }
            (true, None) => vec![],
            (false, _) => given.clone(),
        };
        let mut axes = axes.into_iter().map(|a| from_front(a, fact.rank())).collect::<TractResult<Vec<usize>>>()?;
        if axes.is_empty() {
            if as_input && nothing {
                return Ok(None);
            }
            axes.extend(0..fact.rank());
        }
        axes.sort_unstable();
        axes.dedup();
        let mut wires = model.wire_node(prefix, Node(Arc::new(Reduction { fold, axes: axes.clone() })), &inputs[..1])?;
        for axis in axes.into_iter().rev().filter(|_| !keep) {
            wires = model.wire_node(format!("{prefix}.without_{axis}"), AxisOp::Rm(axis), &wires)?;
        }
        Ok(Some(wires))
    })
}

/// A reduction; of integers it is exact, and the nearest integer of the type where the result has no place in it.
#[derive(Debug)]
struct Reduction {
    fold: Fold,
    /// Sorted.
    axes: Vec<usize>,
}

impl Reduction {
    /// The shape of the results, and for each number the one that it goes into.
    fn places(&self, shape: &[usize]) -> (TVec<usize>, Vec<usize>) {
        let mut reduced: TVec<usize> = shape.into();
        self.axes.iter().for_each(|axis| reduced[*axis] = 1);
        // How far a step along each axis goes among the results.
        let mut steps = vec![0; shape.len()];
        let mut many = 1;
        for axis in (0..shape.len()).rev().filter(|axis| !self.axes.contains(axis)) {
            steps[axis] = many;
            many *= shape[axis];
        }
        let (mut at, mut place) = (vec![0; shape.len()], 0);
        let places = (0..shape.iter().product()).map(|_| {
            let found = place;
            for axis in (0..shape.len()).rev() {
                at[axis] += 1;
                place += steps[axis];
                if at[axis] < shape[axis] {
                    break;
                }
                place -= steps[axis] * shape[axis];
                at[axis] = 0;
            }
            found
        });
        let places = places.collect();
        (reduced, places)
    }

    fn integers(&self, numbers: &[i64], shape: &[usize], kind: DatumType) -> TractResult<Tensor> {
        let (reduced, places) = self.places(shape);
        let mut results = vec![i128::from(self.fold == Fold::Product); reduced.iter().product()];
        for (x, place) in numbers.iter().zip(places) {
            let (x, result) = (i128::from(*x), &mut results[place]);
            *result = match self.fold {
                Fold::Product => result.saturating_mul(x),
                Fold::Sizes => result.saturating_add(x.abs()),
                Fold::Squares => result.saturating_add(x * x),
                _ => result.saturating_add(x),
            };
        }
        let count: usize = self.axes.iter().map(|axis| shape[*axis]).product();
        let divisor = if self.fold == Fold::Mean { count.max(1) as i128 } else { 1 };
        let (least, most) = match kind {
            DatumType::I32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
            _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
        };
        let results: Vec<i64> = results.iter().map(|sum| (sum / divisor).clamp(least, most) as i64).collect();
        tensor1(&results).cast_to_dt(kind)?.into_owned().into_shape(&reduced)
    }

    /// `most + ln(sum(exp(x - most)))`: far below 0 no exponential is left, and far above it is infinite.
    fn exponentials(&self, numbers: &[f64], shape: &[usize], kind: DatumType) -> TractResult<Tensor> {
        let (reduced, places) = self.places(shape);
        let mut most = vec![f64::NEG_INFINITY; reduced.iter().product()];
        numbers.iter().zip(&places).for_each(|(x, place)| most[*place] = most[*place].max(*x));
        most.iter_mut().filter(|most| most.is_infinite()).for_each(|most| *most = 0.0);
        let mut sums = vec![0.0; most.len()];
        numbers.iter().zip(&places).for_each(|(x, place)| sums[*place] += (x - most[*place]).exp());
        let results: Vec<f64> = sums.iter().zip(most).map(|(sum, most)| sum.ln() + most).collect();
        tensor1(&results).cast_to_dt(kind)?.into_owned().into_shape(&reduced)
    }
}

impl Batch for Reduction {
    fn name(&self) -> &'static str {
        "Reduce"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(kind, shape)] = inputs else { bail!("takes one input, not {}", inputs.len()) };
        let mut shape = shape.clone();
        for axis in &self.axes {
            *shape.get_mut(*axis).context("there is no such axis")? = 1.to_dim();
        }
        Ok(tvec!((*kind, shape)))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (input, kind) = (&inputs[0], inputs[0].datum_type());
        let out = if self.fold == Fold::Exponentials {
            self.exponentials(slice(input.cast_to::<f64>()?.as_ref())?, input.shape(), kind)?
        } else {
            self.integers(slice(input.cast_to::<i64>()?.as_ref())?, input.shape(), kind)?
        };
        Ok(tvec!(out.into_tvalue()))
    }
}

fn one_hot(context: &ParsingContext, node: &NodeProto) -> Built {
    let axis = integer(node, "axis", -1);
    mended(context, node, move |prefix, model, inputs| {
        let constant = |index: usize| TractResult::Ok(model.outlet_fact(inputs[index])?.konst.clone());
        let (Some(depth), Some(values)) = (constant(1)?, constant(2)?) else { return Ok(None) };
        let depth = slice::<i64>(depth.cast_to::<i64>()?.as_ref())?.first().copied().context("there is no depth")?;
        let depth = usize::try_from(depth).ok().filter(|depth| *depth > 0).context("the depth is not above 0")?;
        let axis = from_front(axis, model.outlet_fact(inputs[0])?.rank() + 1)?;
        ensure!(values.len() == 2, "takes an off and an on value, not {}", values.len());
        let values = values.as_ref().clone();
        model.wire_node(prefix, Node(Arc::new(OneOf { axis, depth, values })), &inputs[..1]).map(Some)
    })
}

/// An index becomes as many values as there are classes: on for its own (a negative one counts from the end), off for others.
#[derive(Debug)]
struct OneOf {
    axis: usize,
    depth: usize,
    /// Off and on.
    values: Tensor,
}

impl Batch for OneOf {
    fn name(&self) -> &'static str {
        "OneHot"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(kind, shape)] = inputs else { bail!("takes one input, not {}", inputs.len()) };
        ensure!(super::is_number(*kind), "a OneHot of {kind:?} is not supported");
        let mut shape = shape.clone();
        shape.insert(self.axis, self.depth.to_dim());
        Ok(tvec!((self.values.datum_type(), shape)))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shape = inputs[0].shape();
        let inner: usize = shape[self.axis..].iter().product();
        let mut chosen = vec![0u32; inputs[0].len() * self.depth];
        // A class beyond 2^53 does not exist, and neither does one between two.
        let indices = inputs[0].cast_to::<f64>()?;
        for (at, index) in slice::<f64>(&indices)?.iter().enumerate() {
            let class = if *index < 0.0 { index + self.depth as f64 } else { *index };
            if (0.0..self.depth as f64).contains(&class) && class.fract() == 0.0 {
                chosen[(at / inner * self.depth + class as usize) * inner + at % inner] = 1;
            }
        }
        let mut shape: TVec<usize> = shape.into();
        shape.insert(self.axis, self.depth);
        Ok(tvec!(pick(&self.values, &chosen, &shape)?.into_tvalue()))
    }
}

fn resize(context: &ParsingContext, node: &NodeProto) -> Built {
    let aligned = text(node, "coordinate_transformation_mode", "half_pixel")? == "align_corners";
    // Inputs that are left out are not counted.
    let given = |index: usize| node.input.get(index).is_some_and(|name| !name.is_empty());
    let scales = (aligned && given(2)).then(|| usize::from(given(0)) + usize::from(given(1)));
    mended(context, node, move |_, model, inputs| {
        let Some(scales) = scales.and_then(|index| inputs.get(index)) else { return Ok(None) };
        let scales = model.outlet_fact(*scales)?.konst.clone().context("the scales are not constant")?;
        let scales = slice::<f32>(&scales)?.to_vec();
        let shape = model.outlet_fact(inputs[0])?.shape.clone();
        for (dim, scale) in shape.iter().zip(scales).filter(|(_, scale)| *scale != 1.0) {
            let length = dim.to_usize()? as f64 * f64::from(scale);
            // A scale such as 1.1 is a little more than that.
            ensure!(
                length.fract() <= 1e-6 * length,
                "a Resize with aligned corners to a length of {length} is not supported"
            );
        }
        Ok(None)
    })
}

/// Something done to each number.
#[derive(Debug)]
struct Each {
    name: &'static str,
    single: fn(f32) -> f32,
    double: fn(f64) -> f64,
}

fn softplus_f32(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl Batch for Each {
    fn name(&self) -> &'static str {
        self.name
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [fact] = inputs else { bail!("takes one input, not {}", inputs.len()) };
        let known = matches!(fact.0, DatumType::F32 | DatumType::F64);
        ensure!(known, "a {} of type {:?} is not supported", self.name, fact.0);
        Ok(tvec!(fact.clone()))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut tensor = args_1!(inputs).into_tensor();
        let single = tensor.datum_type() == f32::datum_type();
        let mut view = tensor.try_as_plain_ram_mut()?;
        if single {
            view.as_slice_mut::<f32>()?.iter_mut().for_each(|x| *x = (self.single)(*x));
        } else {
            view.as_slice_mut::<f64>()?.iter_mut().for_each(|x| *x = (self.double)(*x));
        }
        Ok(tvec!(tensor.into_tvalue()))
    }
}

/// `x - max - ln(sum(exp(x - max)))` along an axis, or along all from it on.
#[derive(Debug)]
struct LogSoftmax {
    axis: i64,
    flat: bool,
}

impl Batch for LogSoftmax {
    fn name(&self) -> &'static str {
        "LogSoftmax"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [fact] = inputs else { bail!("takes one input, not {}", inputs.len()) };
        ensure!(matches!(fact.0, DatumType::F32 | DatumType::F64), "a LogSoftmax of type {:?} is not supported", fact.0);
        from_front(self.axis, fact.1.len())?;
        Ok(tvec!(fact.clone()))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut tensor = args_1!(inputs).into_tensor();
        let shape: TVec<usize> = tensor.shape().into();
        let axis = from_front(self.axis, shape.len())?;
        let behind: usize = shape[axis + 1..].iter().product();
        let (length, inner) = if self.flat { (shape[axis] * behind, 1) } else { (shape[axis], behind) };
        let single = tensor.datum_type() == f32::datum_type();
        let mut view = tensor.try_as_plain_ram_mut()?;
        macro_rules! along {
            ($kind:ty) => {
                for group in view.as_slice_mut::<$kind>()?.chunks_exact_mut((length * inner).max(1)) {
                    for first in 0..inner {
                        let numbers = || group.iter().skip(first).step_by(inner);
                        let most = numbers().fold(<$kind>::NEG_INFINITY, |most, x| most.max(*x));
                        let sum: $kind = numbers().map(|x| (*x - most).exp()).sum();
                        group.iter_mut().skip(first).step_by(inner).for_each(|x| *x = *x - most - sum.ln());
                    }
                }
            };
        }
        if single {
            along!(f32);
        } else {
            along!(f64);
        }
        Ok(tvec!(tensor.into_tvalue()))
    }
}
