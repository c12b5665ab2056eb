//! Operators that tract lacks or computes otherwise, each as ONNX Runtime computes it.
//!
//! ```text
//! node ─► builder (reads attributes, refuses what does not fit) ─► Batch (computes whole batches) ─► tract
//! ```
//!
//! A family of operators is a file; the numbers come from [`kernel`](crate::model::kernel). To add one: write a builder
//! that ends in [`batch`], register it in [`reader`], name it in `scan.rs`, and prove it against ONNX Runtime in
//! `tests/models`.

use std::borrow::Cow;
use std::sync::Arc;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_hir::internal::*;

mod arrange;
mod cast;
mod encode;
mod linear;
pub(super) mod maps;
mod mend;
mod scale;
mod standard;
mod svm;

pub(super) use cast::{CAST, CAST_LIKE, target as cast_target, widen};
pub(super) use standard::DISTANCES;

/// What a builder returns: the operator, and the outer names it uses (none here).
type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// tract's reader with these operators in place of its own.
pub(super) fn reader() -> Onnx {
    let mut onnx =
        tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_output_types(true).with_ignore_value_info(true);
    let operators = &mut onnx.op_register;
    arrange::register(operators);
    cast::register(operators);
    encode::register(operators);
    linear::register(operators);
    maps::register(operators);
    mend::register(operators);
    scale::register(operators);
    standard::register(operators);
    svm::register(operators);
    super::trees::register(operators);
    onnx
}

/// The type and shape of a tensor, the shape perhaps with symbols.
type Fact = (DatumType, TVec<TDim>);

/// An operator that is prepared for some constants, and the inputs that it still takes.
type Prepared = (Arc<dyn Batch>, TVec<usize>);

/// An operator that computes whole batches: what is behind the wall of traits that tract asks for.
trait Batch: std::fmt::Debug + Send + Sync {
    /// Its name, as a failing plan says it.
    fn name(&self) -> &'static str;

    /// How many outputs it has.
    fn output_count(&self) -> usize {
        1
    }

    /// The outputs that these inputs give.
    ///
    /// # Errors
    /// If it does not take them.
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>>;

    /// The same operator with what its constant inputs allow to be done beforehand, and which inputs it still takes.
    ///
    /// # Errors
    /// If it cannot work with these constants.
    fn with_constants(&self, _constants: &[Option<Arc<Tensor>>]) -> TractResult<Option<Prepared>> {
        Ok(None)
    }

    /// The outputs for these inputs, which are as [`Batch::outputs`] allowed them.
    ///
    /// # Errors
    /// If a value cannot be worked with; it then fails its row.
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>>;
}

/// A builder's result.
fn batch(operator: impl Batch + 'static) -> Built {
    Ok((expand(Node(Arc::new(operator))), vec![]))
}

/// A [`Batch`] as tract wants it, before and after types are known.
#[derive(Debug, Clone)]
struct Node(Arc<dyn Batch>);

// Copies of one node are the same; two nodes are never merged, and nothing is lost by that.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Node {}

impl Op for Node {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }
    op_as_typed_op!();
}

impl EvalOp for Node {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.0.run(inputs)
    }
}

impl TypedOp for Node {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let inputs: Vec<Fact> = inputs.iter().map(|i| (i.datum_type, i.shape.iter().cloned().collect())).collect();
        Ok(self.0.outputs(&inputs)?.into_iter().map(|(kind, shape)| kind.fact(shape)).collect())
    }
    as_op!();
}

impl Expansion for Node {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }
    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.output_count())
    }
    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, self.0.output_count())?;
        solver.given_all(inputs.iter().map(|i| &i.datum_type), move |solver, types| {
            solver.given_all(inputs.iter().map(|i| &i.shape), move |solver, shapes| {
                let plain = |kind: &DatumType| if *kind == TDim::datum_type() { i64::datum_type() } else { *kind };
                let facts: Vec<Fact> = types.iter().map(plain).zip(shapes).collect();
                for (output, (kind, shape)) in outputs.iter().zip(self.0.outputs(&facts)?) {
                    solver.equals(&output.datum_type, kind)?;
                    solver.equals(&output.shape, shape)?;
                }
                Ok(())
            })
        })
    }
    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut wires: TVec<OutletId> = inputs.into();
        for (index, wire) in wires.iter_mut().enumerate() {
            // tract's own type for integers that might be dimensions: what a cast to INT64 gives.
            if model.outlet_fact(*wire)?.datum_type == TDim::datum_type() {
                *wire = model.wire_node(format!("{prefix}.i64_{index}"), cast(i64::datum_type()), &[*wire])?[0];
            }
        }
        let constants =
            wires.iter().map(|wire| Ok(model.outlet_fact(*wire)?.konst.clone())).collect::<TractResult<Vec<_>>>()?;
        match self.0.with_constants(&constants)? {
            Some((prepared, kept)) => {
                let wires: TVec<OutletId> = kept.iter().map(|index| wires[*index]).collect();
                model.wire_node(prefix, Self(prepared), &wires)
            }
            None => model.wire_node(prefix, self.clone(), &wires),
        }
    }
}

/// Attribute `name` of a node.
pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// Attribute `name` as numbers; empty without it.
fn floats<'a>(node: &'a NodeProto, name: &str) -> &'a [f32] {
    attribute(node, name).map_or(&[], |a| &a.floats)
}

/// Attribute `name` as integers; empty without it.
fn integers<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    attribute(node, name).map_or(&[], |a| &a.ints)
}

/// Attribute `name` as one integer.
fn integer(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |a| a.i)
}

/// Attribute `name` as text.
fn text<'a>(node: &'a NodeProto, name: &str, default: &'a str) -> TractResult<&'a str> {
    attribute(node, name).map_or(Ok(default), |a| Ok(std::str::from_utf8(&a.s)?))
}

/// Attribute `name` as texts; empty without it.
fn texts(node: &NodeProto, name: &str) -> TractResult<Vec<String>> {
    let given = attribute(node, name).map_or(&[][..], |a| &a.strings);
    given.iter().map(|s| Ok(String::from_utf8(s.clone())?)).collect()
}

/// Attribute `name` as a tensor.
fn tensor(context: &ParsingContext, node: &NodeProto, name: &str) -> TractResult<Option<Tensor>> {
    attribute(node, name).and_then(|a| a.t.as_ref()).map(|t| context.load_tensor(t)).transpose()
}

/// The version of the operators of `ai.onnx.ml` that a file asks for.
fn classical_opset(context: &ParsingContext) -> i64 {
    context.model.opset_import.iter().find(|o| o.domain == "ai.onnx.ml").map_or(1, |o| o.version)
}

/// The names of classes, from whichever of two attributes has them.
fn class_names(node: &NodeProto, integers_name: &str, texts_name: &str) -> TractResult<Tensor> {
    let (numbers, strings) = (integers(node, integers_name), texts(node, texts_name)?);
    ensure!(numbers.is_empty() || strings.is_empty(), "has class labels of two kinds");
    Ok(if strings.is_empty() { tensor1(numbers) } else { tensor1(&strings) })
}

/// The elements of a tensor.
fn slice<T: Datum>(tensor: &Tensor) -> TractResult<&[T]> {
    let view = tensor.to_plain_array_view::<T>()?;
    view.to_slice().context("a tensor does not lie in one piece")
}

/// The values at `indices`, which are in range.
fn pick(values: &Tensor, indices: &[u32], shape: &[usize]) -> TractResult<Tensor> {
    fn of<T: Datum + Clone>(values: &Tensor, indices: &[u32], shape: &[usize]) -> TractResult<Tensor> {
        let values = slice::<T>(values)?;
        let picked = indices.iter().map(|i| values.get(*i as usize).cloned());
        let picked: Vec<T> = picked.collect::<Option<_>>().context("an index is out of range")?;
        tensor1(&picked).into_shape(shape)
    }
    match values.datum_type() {
        DatumType::F32 => of::<f32>(values, indices, shape),
        DatumType::F64 => of::<f64>(values, indices, shape),
        DatumType::I64 => of::<i64>(values, indices, shape),
        DatumType::I32 => of::<i32>(values, indices, shape),
        DatumType::I16 => of::<i16>(values, indices, shape),
        DatumType::I8 => of::<i8>(values, indices, shape),
        DatumType::U8 => of::<u8>(values, indices, shape),
        DatumType::Bool => of::<bool>(values, indices, shape),
        DatumType::String => of::<String>(values, indices, shape),
        other => bail!("values of type {other:?} are not supported"),
    }
}

/// Numbers of any type as `f32`, without a copy where they are.
fn singles(tensor: &Tensor) -> TractResult<Cow<'_, Tensor>> {
    tensor.cast_to::<f32>()
}

/// Rows and columns of an input of rank 2 whose elements are numbers.
fn matrix<'a>(what: &str, fact: &'a Fact) -> TractResult<(&'a TDim, usize)> {
    ensure!(is_number(fact.0), "{what} of type {:?} is not supported", fact.0);
    let [rows, columns] = fact.1.as_slice() else {
        bail!("{what} of a tensor of {} dimensions is not supported", fact.1.len())
    };
    Ok((rows, columns.to_usize()?))
}

/// Whether elements of this type are numbers.
fn is_number(kind: DatumType) -> bool {
    kind.is_float() || kind.is_integer()
}

/// The last dimension of a tensor's shape; 1 where there is none.
fn width(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(1).max(1)
}
