//! Operators of `ai.onnx.ml` (scikit-learn's exporters) as tract operators, each as ONNX Runtime computes it.
//!
//! A builder reads a node's attributes and refuses what is not proven; [`Classical`] computes. Numbers are `f32`, as the
//! operators' outputs are. A linear model is a matrix product of tract's own, and [`Classical`] only behind it.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_hir::internal::*;

/// What a builder returns: the operator, and the outer names it uses (none here).
type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// tract's reader with these operators in place of its own.
pub(super) fn reader() -> Onnx {
    let mut onnx =
        tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_output_types(true).with_ignore_value_info(true);
    let operators = &mut onnx.op_register;
    operators.insert("Scaler", scaler);
    operators.insert("Imputer", imputer);
    operators.insert("Normalizer", normalizer);
    operators.insert("OneHotEncoder", one_hot);
    operators.insert("LinearClassifier", linear_classifier);
    operators.insert("LinearRegressor", linear_regressor);
    super::trees::register(operators);
    // A map per row stays a tensor: the signature knows the names of its columns.
    operators.insert("ZipMap", |_, _| Ok((Box::new(tract_onnx::tract_hir::ops::identity::Identity), vec![])));
    onnx
}

/// Attribute `name` of a node.
pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// Attribute `name` as numbers; empty without it.
fn floats<'a>(node: &'a NodeProto, name: &str) -> &'a [f32] {
    attribute(node, name).map_or(&[], |a| &a.floats)
}

/// Attribute `name` as text.
fn text<'a>(node: &'a NodeProto, name: &str, default: &'a str) -> TractResult<&'a str> {
    attribute(node, name).map_or(Ok(default), |a| Ok(std::str::from_utf8(&a.s)?))
}

/// Attribute `name` as texts.
fn texts(node: &NodeProto, name: &str) -> TractResult<Vec<String>> {
    let given = attribute(node, name).map_or(&[][..], |a| &a.strings);
    given.iter().map(|s| Ok(String::from_utf8(s.clone())?)).collect()
}

fn scaler(_: &ParsingContext, node: &NodeProto) -> Built {
    let (offset, scale) = (floats(node, "offset").to_vec(), floats(node, "scale").to_vec());
    ensure!(!offset.is_empty() && offset.len() == scale.len(), "offset and scale are not of one length");
    Ok((expand(Classical::Scaler { offset, scale }), vec![]))
}

fn imputer(_: &ParsingContext, node: &NodeProto) -> Built {
    let values = floats(node, "imputed_value_floats").to_vec();
    ensure!(!values.is_empty(), "an Imputer of integers is not supported yet");
    let missing = attribute(node, "replaced_value_float").map_or(0.0, |a| a.f);
    Ok((expand(Classical::Imputer { values, missing }), vec![]))
}

fn normalizer(_: &ParsingContext, node: &NodeProto) -> Built {
    let norm = match text(node, "norm", "MAX")? {
        "MAX" => Norm::Max,
        "L1" => Norm::L1,
        "L2" => Norm::L2,
        other => bail!("norm {other} is not known"),
    };
    Ok((expand(Classical::Normalizer { norm }), vec![]))
}

fn one_hot(_: &ParsingContext, node: &NodeProto) -> Built {
    let numbers = attribute(node, "cats_int64s").map_or(&[][..], |a| &a.ints);
    let strings = texts(node, "cats_strings")?;
    ensure!(numbers.is_empty() != strings.is_empty(), "needs either numbers or strings as categories");
    let categories = if strings.is_empty() { tensor1(numbers) } else { tensor1(&strings) };
    let zeros = attribute(node, "zeros").is_none_or(|a| a.i != 0);
    Ok((expand(Classical::OneHot { categories: categories.into_arc_tensor(), zeros }), vec![]))
}

fn linear_regressor(_: &ParsingContext, node: &NodeProto) -> Built {
    ensure!(text(node, "post_transform", "NONE")? == "NONE", "a post_transform is not supported yet");
    let targets = usize::try_from(attribute(node, "targets").map_or(1, |a| a.i))?;
    Ok((expand(Linear::new(node, targets, None)?), vec![]))
}

fn linear_classifier(_: &ParsingContext, node: &NodeProto) -> Built {
    let numbers = attribute(node, "classlabels_ints").map_or(&[][..], |a| &a.ints);
    let strings = texts(node, "classlabels_strings")?;
    ensure!(numbers.is_empty() != strings.is_empty(), "needs either numbers or strings as class labels");
    let classes = if strings.is_empty() { tensor1(numbers) } else { tensor1(&strings) };
    let post = match text(node, "post_transform", "NONE")? {
        "NONE" => Post::None,
        "LOGISTIC" => Post::Logistic,
        "SOFTMAX" => Post::Softmax,
        other => bail!("post_transform {other} is not supported yet"),
    };
    let count = classes.len();
    ensure!(count >= 2, "needs two classes at least");
    let head = Classical::Classes { classes: classes.into_arc_tensor(), post };
    Ok((expand(Linear::new(node, count, Some(head))?), vec![]))
}

/// A matrix product, an addition, and for a classifier what follows.
#[derive(Debug, Clone, PartialEq)]
struct Linear {
    /// `[features, targets]`.
    coefficients: Arc<Tensor>,
    /// `[1, targets]`.
    intercepts: Arc<Tensor>,
    targets: usize,
    classes: Option<Classical>,
}

impl Eq for Linear {}

impl Linear {
    fn new(node: &NodeProto, targets: usize, classes: Option<Classical>) -> TractResult<Self> {
        let (coefficients, intercepts) = (floats(node, "coefficients"), floats(node, "intercepts"));
        ensure!(
            targets > 0 && !coefficients.is_empty() && coefficients.len().is_multiple_of(targets),
            "{} coefficients for {targets} outputs are not supported",
            coefficients.len()
        );
        ensure!(
            intercepts.is_empty() || intercepts.len() == targets,
            "{} intercepts for {targets} outputs",
            intercepts.len()
        );
        let features = coefficients.len() / targets;
        let none = vec![0.0; targets];
        let intercepts = if intercepts.is_empty() { &none } else { intercepts };
        Ok(Self {
            coefficients: tensor1(coefficients).into_shape(&[targets, features])?.permute_axes(&[1, 0])?.into_arc_tensor(),
            intercepts: tensor1(intercepts).into_shape(&[1, targets])?.into_arc_tensor(),
            targets,
            classes,
        })
    }
}

impl Expansion for Linear {
    fn name(&self) -> StaticName {
        "VaticLinear".into()
    }
    fn nboutputs(&self) -> TractResult<usize> {
        Ok(if self.classes.is_some() { 2 } else { 1 })
    }
    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, self.nboutputs()?)?;
        let scores = &outputs[outputs.len() - 1];
        solver.equals(&inputs[0].rank, 2)?;
        solver.equals(&scores.datum_type, f32::datum_type())?;
        solver.equals(&scores.rank, 2)?;
        solver.equals(&scores.shape[0], &inputs[0].shape[0])?;
        solver.equals(&scores.shape[1], self.targets.to_dim())?;
        if let Some(Classical::Classes { classes, .. }) = &self.classes {
            solver.equals(&outputs[0].datum_type, classes.datum_type())?;
            solver.equals(&outputs[0].rank, 1)?;
            solver.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
        }
        Ok(())
    }
    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut wire = tvec!(inputs[0]);
        if model.outlet_fact(wire[0])?.datum_type != f32::datum_type() {
            wire = model.wire_node(format!("{prefix}.f32"), cast(f32::datum_type()), &wire)?;
        }
        let coefficients = model.add_const(format!("{prefix}.coefficients"), self.coefficients.clone())?;
        let axes = AxesMapping::for_numpy_matmul(2, false, false, false)?;
        let product = EinSum::new(axes, f32::datum_type());
        wire = model.wire_node(format!("{prefix}.product"), product, &[wire[0], coefficients])?;
        let intercepts = model.add_const(format!("{prefix}.intercepts"), self.intercepts.clone())?;
        wire = model.wire_node(format!("{prefix}.sum"), math::add(), &[wire[0], intercepts])?;
        match &self.classes {
            Some(classes) => model.wire_node(format!("{prefix}.classes"), classes.clone(), &wire),
            None => Ok(wire),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Norm {
    Max,
    L1,
    L2,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Post {
    None,
    Logistic,
    Softmax,
}

/// What works row by row on the last axis.
#[derive(Debug, Clone, PartialEq)]
enum Classical {
    /// `(x - offset) * scale`, by column, or one for all.
    Scaler { offset: Vec<f32>, scale: Vec<f32> },
    /// `missing` (perhaps NaN) becomes the column's value.
    Imputer { values: Vec<f32>, missing: f32 },
    /// Each row divided by its norm.
    Normalizer { norm: Norm },
    /// `[.., n]` categories become `[.., n, categories]` of 0 and 1; an unknown one is all 0, or with `!zeros` an error.
    OneHot { categories: Arc<Tensor>, zeros: bool },
    /// Raw scores `[rows, classes]` become labels `[rows]` and probabilities `[rows, classes]`.
    Classes { classes: Arc<Tensor>, post: Post },
}

// Only NaN differs from itself, and then two equal operators count as different: they are not merged, nothing worse.
impl Eq for Classical {}

impl Classical {
    /// The rows of `tensor`, `f32`, in place.
    fn in_place(&self, tensor: &mut Tensor) -> TractResult<()> {
        let width = tensor.shape().last().copied().unwrap_or(1).max(1);
        let mut view = tensor.try_as_plain_ram_mut()?;
        let rows = view.as_slice_mut::<f32>()?.chunks_exact_mut(width);
        match self {
            Self::Scaler { offset, scale } if offset.len() == 1 => {
                rows.flatten().for_each(|x| *x = (*x - offset[0]) * scale[0]);
            }
            Self::Scaler { offset, scale } => {
                ensure!(offset.len() == width, "a scaler of {} columns meets {width}", offset.len());
                for row in rows {
                    row.iter_mut().zip(offset).zip(scale).for_each(|((x, offset), scale)| *x = (*x - offset) * scale);
                }
            }
            Self::Imputer { values, missing } => {
                ensure!(values.len() == 1 || values.len() == width, "an imputer of {} columns meets {width}", values.len());
                for row in rows {
                    for (x, value) in row.iter_mut().zip(values.iter().cycle()) {
                        if *x == *missing || (missing.is_nan() && x.is_nan()) {
                            *x = *value;
                        }
                    }
                }
            }
            Self::Normalizer { norm } => rows.for_each(|row| normalize(*norm, row)),
            Self::OneHot { .. } | Self::Classes { .. } => bail!("not an operator in place"),
        }
        Ok(())
    }

    /// Labels from raw scores, which become probabilities. The largest *raw* score wins, the first of equals.
    fn classify(classes: &Tensor, post: Post, mut scores: Tensor) -> TractResult<TVec<TValue>> {
        let count = classes.len();
        let mut view = scores.try_as_plain_ram_mut()?;
        let raw = view.as_slice_mut::<f32>()?;
        let mut winners = Vec::with_capacity(raw.len() / count);
        for row in raw.chunks_exact_mut(count) {
            let mut best = 0;
            for (index, score) in row.iter().enumerate() {
                if *score > row[best] {
                    best = index;
                }
            }
            winners.push(best);
            match post {
                Post::None => {}
                Post::Logistic => row.iter_mut().for_each(|x| *x = logistic(*x)),
                Post::Softmax => softmax(row),
            }
        }
        let labels = if classes.datum_type() == i64::datum_type() {
            let names = classes.try_as_plain_ram()?;
            let names = names.as_slice::<i64>()?;
            tensor1(&winners.iter().map(|w| names[*w]).collect::<Vec<_>>())
        } else {
            let names = classes.try_as_plain_ram()?;
            let names = names.as_slice::<String>()?;
            tensor1(&winners.iter().map(|w| names[*w].clone()).collect::<Vec<_>>())
        };
        Ok(tvec!(labels.into_tvalue(), scores.into_tvalue()))
    }
}

/// Which of `categories` each of `values` is.
fn one_hot_rows<T: PartialEq>(values: &[T], categories: &[T], zeros: bool) -> TractResult<Vec<f32>> {
    let mut out = vec![0.0; values.len() * categories.len()];
    for (value, row) in values.iter().zip(out.chunks_exact_mut(categories.len())) {
        match categories.iter().position(|c| c == value) {
            Some(index) => row[index] = 1.0,
            None => ensure!(zeros, "a value is none of the categories"),
        }
    }
    Ok(out)
}

/// As ONNX Runtime: without overflow, and 0 or 1 far out.
fn logistic(x: f32) -> f32 {
    let p = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - p } else { p }
}

fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|x| *x = (*x - largest).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
}

/// As ONNX Runtime: the largest value (not of the absolute ones); a row whose norm is 0 stays as it is.
fn normalize(norm: Norm, row: &mut [f32]) {
    match norm {
        Norm::Max => {
            let largest = row.iter().copied().fold(f32::MIN, f32::max);
            if largest != 0.0 {
                row.iter_mut().for_each(|x| *x /= largest);
            }
        }
        Norm::L1 => {
            let sum: f32 = row.iter().map(|x| x.abs()).sum();
            if sum != 0.0 {
                row.iter_mut().for_each(|x| *x /= sum);
            }
        }
        Norm::L2 => {
            let sum: f32 = row.iter().map(|x| x * x).sum();
            if sum != 0.0 {
                row.iter_mut().for_each(|x| *x = (*x * *x / sum).sqrt().copysign(*x));
            }
        }
    }
}

impl Op for Classical {
    fn name(&self) -> StaticName {
        match self {
            Self::Scaler { .. } => "VaticScaler",
            Self::Imputer { .. } => "VaticImputer",
            Self::Normalizer { .. } => "VaticNormalizer",
            Self::OneHot { .. } => "VaticOneHot",
            Self::Classes { .. } => "VaticClasses",
        }
        .into()
    }
    op_as_typed_op!();
}

impl EvalOp for Classical {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        match self {
            Self::Classes { classes, post } => Self::classify(classes, *post, input.into_tensor()),
            Self::OneHot { categories, zeros } => {
                let mut shape: TVec<usize> = input.shape().into();
                shape.push(categories.len());
                let (values, known) = (input.try_as_plain_ram()?, categories.try_as_plain_ram()?);
                let out = if categories.datum_type() == String::datum_type() {
                    one_hot_rows(values.as_slice::<String>()?, known.as_slice::<String>()?, *zeros)?
                } else {
                    one_hot_rows(values.as_slice::<i64>()?, known.as_slice::<i64>()?, *zeros)?
                };
                Ok(tvec!(Tensor::from_shape(&shape, &out)?.into_tvalue()))
            }
            Self::Scaler { .. } | Self::Imputer { .. } | Self::Normalizer { .. } => {
                let mut tensor = input.into_tensor();
                self.in_place(&mut tensor)?;
                Ok(tvec!(tensor.into_tvalue()))
            }
        }
    }
}

impl TypedOp for Classical {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shape = &inputs[0].shape;
        let wanted = match self {
            Self::OneHot { categories, .. } => categories.datum_type(),
            _ => f32::datum_type(),
        };
        ensure!(
            inputs[0].datum_type == wanted,
            "operator {} of type {:?} is not supported yet",
            Op::name(self),
            inputs[0].datum_type
        );
        Ok(match self {
            Self::OneHot { categories, .. } => {
                let mut shape: TVec<TDim> = shape.iter().cloned().collect();
                shape.push(categories.len().to_dim());
                tvec!(f32::fact(&shape))
            }
            Self::Classes { classes, .. } => {
                let shape: TVec<TDim> = shape.iter().cloned().collect();
                tvec!(classes.datum_type().fact(&shape[..1]), f32::fact(&shape))
            }
            Self::Scaler { .. } | Self::Imputer { .. } | Self::Normalizer { .. } => {
                tvec!(f32::fact(shape.iter().cloned().collect::<TVec<_>>()))
            }
        })
    }
    as_op!();
}

impl Expansion for Classical {
    fn name(&self) -> StaticName {
        Op::name(self)
    }
    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, f32::datum_type())?;
        if let Self::OneHot { categories, .. } = self {
            solver.equals(&outputs[0].rank, inputs[0].rank.bex() + 1)?;
            return solver.given(&inputs[0].shape, move |solver, mut shape| {
                shape.push(categories.len().to_dim());
                solver.equals(&outputs[0].shape, shape)
            });
        }
        solver.equals(&outputs[0].shape, &inputs[0].shape)
    }
    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut wire = tvec!(inputs[0]);
        let given = model.outlet_fact(wire[0])?.datum_type;
        // ONNX Runtime reads integers as f32 here too. Doubles it would compute with as doubles: refused by `output_facts`.
        if !matches!(self, Self::OneHot { .. } | Self::Imputer { .. }) && (given.is_integer() || given == TDim::datum_type())
        {
            wire = model.wire_node(format!("{prefix}.f32"), cast(f32::datum_type()), &wire)?;
        } else if given == TDim::datum_type() {
            // tract's own type for integers that might be dimensions: what a cast to INT64 gives.
            wire = model.wire_node(format!("{prefix}.i64"), cast(i64::datum_type()), &wire)?;
        }
        model.wire_node(prefix, self.clone(), &wire)
    }
}
