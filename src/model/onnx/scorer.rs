//! Runs an ONNX graph on batches of any size.
//!
//! ```text
//! rows:  |<-- 1024 -->|<-- 1024 -->|<-64->|<-64->|rest|     one plan per fixed size, one for any size
//! ```
//!
//! A plan that knows its batch size is up to twice as fast on small models, so most rows go through fixed plans and only
//! the rest through the one with a symbolic size. Where a graph does not work with a symbolic size, the smallest fixed
//! plan takes the rest, filled up with copies of the last row. Arrow arrays become tensors by one copy per input and
//! chunk, and results are appended to one buffer per output.
//!
//! Before a model is used, the same rows are run together and one by one: each row's result must be its own.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, PrimitiveArray, StringArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::tract_hir::internal::*;

use super::super::guard::guard;
use super::super::{Input, ModelError, Output, Scorer, trial};
use super::alike::alike;
use super::deadline::Deadline;
use super::signature::Inputs;
use super::{made_up, operators, refuse, rewrite};

/// Batch sizes with plans of their own, largest first.
const FIXED: [usize; 2] = [1024, 64];
/// Files larger than this get no fixed plans: each keeps its own copy of the weights.
const FIXED_UP_TO_BYTES: usize = 16 << 20;
/// What the intermediate results of one run may need, in bytes; larger ones shrink the chunks.
const RUN_BYTES: usize = 256 << 20;

/// The symbol for the rows of a batch of any size.
const ROWS: &str = "rows_of_the_batch";
/// The largest difference of a row's results alone and among others: only additions come in another order.
const TOLERANCE: f64 = 1e-3;

type Plan = Arc<TypedRunnableModel>;

/// A loaded graph. Plans are shared and immutable; a run's state is its own, so threads do not wait for each other.
#[derive(Debug)]
pub(super) struct OnnxScorer {
    inputs: Vec<Column>,
    outputs: Vec<Column>,
    /// Largest first.
    fixed: Vec<(usize, Plan)>,
    any: Option<Plan>,
    /// The most rows of one run.
    most: usize,
    /// How many operators the file has.
    operators: usize,
}

/// An input or output as tract has it.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    datum: DatumType,
    /// The dimensions behind the batch.
    shape: TVec<usize>,
}

impl Column {
    fn width(&self) -> usize {
        self.shape.iter().product()
    }
}

impl OnnxScorer {
    /// Builds and tries the plans; also returns the outputs as [`Scorer::score`] will return them.
    ///
    /// # Errors
    /// `Load` if tract cannot run the graph, or if it does not give each row its own result.
    pub(super) fn build(model: &ModelProto, given: &Inputs, file_bytes: usize) -> Result<(Self, Vec<Output>), ModelError> {
        let deadline = Deadline::start();
        let operators = model.graph.as_ref().map_or(0, |g| g.node.len());
        let parsed = operators::reader().parse(&rewrite::rewritten(model), None).map_err(|e| failed(&e))?;
        if let Some(name) = parsed.unresolved_inputs.first() {
            return Err(refuse(format!("nothing makes \"{name}\"")));
        }
        let graph = parsed.model;
        let inputs = given.inputs.iter().zip(&given.ranks).map(|(input, rank)| column(input, *rank)).collect::<Vec<_>>();
        let symbol = graph.symbols.sym(ROWS);
        let symbolic = plan(&graph, &inputs, &symbol.into(), deadline);
        let smallest = given.batch.unwrap_or(1);
        let (any, first) = match symbolic {
            Ok(found) => (Some(found.plan.clone()), found),
            // Whatever the symbolic plan could not do, a fixed one may: its error is the true reason if it cannot either.
            Err(_) => (None, plan(&graph, &inputs, &smallest.to_dim(), deadline).map_err(|e| failed(&e))?),
        };
        let bytes = first.bytes_per_row.saturating_mul(smallest);
        if bytes > 4 * RUN_BYTES {
            let rows = if smallest == 1 { "one row".to_owned() } else { format!("a batch of {smallest} rows") };
            return Err(refuse(format!("{rows} would need {bytes} bytes of memory")));
        }
        let most = (RUN_BYTES / first.bytes_per_row.max(1)).clamp(1, FIXED[0]);
        let mut scorer = Self { inputs, outputs: first.outputs, fixed: vec![], any, most, operators };
        // tract names an output that only passes an input on like that input.
        let names = model.graph.iter().flat_map(|g| &g.output).map(|o| &o.name);
        scorer.outputs.iter_mut().zip(names).for_each(|(output, name)| output.name.clone_from(name));
        let free = scorer.any.is_some() || given.batch.is_none();
        if free && file_bytes <= FIXED_UP_TO_BYTES {
            for rows in FIXED.into_iter().filter(|rows| *rows <= most) {
                // A size that does not work is no loss while another one does.
                if let Ok(found) = plan(&graph, &scorer.inputs, &rows.to_dim(), deadline) {
                    scorer.fixed.push((rows, found.plan));
                }
            }
        }
        if scorer.any.is_none() {
            scorer.fixed.push((smallest, first.plan));
        }
        let file = model.graph.as_ref().ok_or_else(|| refuse("the file holds no graph"))?;
        if !trial::within(|| scorer.rows_are_independent(file, &given.inputs, smallest))? {
            if given.batch != Some(1) {
                return Err(refuse("rows of a batch influence each other, so a row has no score of its own"));
            }
            // The file says one row at a time, and means it.
            let single = plan(&graph, &scorer.inputs, &1.to_dim(), deadline).map_err(|e| failed(&e))?;
            scorer.any = None;
            scorer.fixed = vec![(1, single.plan)];
        }
        let outputs = scorer.outputs.iter().map(|o| Output { name: o.name.clone(), data_type: arrow_type(o) }).collect();
        Ok((scorer, outputs))
    }

    /// Runs made-up rows of `inputs` through every plan, and a few one by one, and compares. This also warms the plans up.
    fn rows_are_independent(&self, graph: &GraphProto, inputs: &[Input], smallest: usize) -> Result<bool, ModelError> {
        let sizes: Vec<usize> = self.fixed.iter().map(|(rows, _)| *rows).collect();
        let rows = sizes.iter().sum::<usize>() + 3;
        let rows = if smallest > 1 { rows.max(2 * smallest) } else { rows };
        let arrow = |e: ArrowError| refuse(format!("no rows could be made up for it: {e}"));
        let mut features = made_up::rows(graph, inputs, rows).map_err(arrow)?;
        let together = match self.score(&features, rows) {
            Ok(together) => together,
            Err(ModelError::Run { reason, .. }) => {
                // A made-up row may be one that the model has no result for, such as an index out of range.
                let alone = |features: &[ArrayRef], row: usize| {
                    let one: Vec<ArrayRef> = features.iter().map(|f| f.slice(row, 1)).collect();
                    self.score(&one, 1)
                };
                let good: Vec<u32> =
                    (0..rows.min(64)).filter(|row| alone(&features, *row).is_ok()).map(|row| row as u32).collect();
                let failed = |reason| refuse(format!("a trial run failed: {reason}"));
                if good.is_empty() {
                    return Err(failed(reason));
                }
                let again = UInt32Array::from_iter_values(good.iter().copied().cycle().take(rows));
                features = features.iter().map(|f| take(f, &again, None)).collect::<Result<_, _>>().map_err(arrow)?;
                match self.score(&features, rows) {
                    Err(ModelError::Run { reason, .. }) => return Err(failed(reason)),
                    other => other?,
                }
            }
            Err(other) => return Err(other),
        };
        for row in [0, 1, rows - 2, rows - 1] {
            let one: Vec<ArrayRef> = features.iter().map(|f| f.slice(row, 1)).collect();
            let Ok(alone) = self.score(&one, 1) else { return Ok(false) };
            if !together.iter().zip(&alone).all(|(all, one)| alike(&all.slice(row, 1), one, TOLERANCE)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The plan for the next rows, how many rows it runs, and how many of these are real.
    fn next(&self, left: usize) -> Option<(&Plan, usize, usize)> {
        let exact = self.fixed.iter().find(|(rows, _)| *rows <= left);
        match (exact, &self.any) {
            (Some((rows, plan)), _) => Some((plan, *rows, *rows)),
            (None, Some(plan)) => {
                let rows = left.min(self.most);
                Some((plan, rows, rows))
            }
            (None, None) => self.fixed.last().map(|(rows, plan)| (plan, *rows, left)),
        }
    }

    fn run(&self, features: &[ArrayRef], rows: usize) -> TractResult<Vec<ArrayRef>> {
        ensure!(features.len() == self.inputs.len(), "{} inputs given, {} taken", features.len(), self.inputs.len());
        let mut collected = self.outputs.iter().map(|o| Collected::new(o, rows)).collect::<TractResult<Vec<_>>>()?;
        let mut start = 0;
        while start < rows {
            let (plan, run, real) = self.next(rows - start).context("no plan")?;
            let tensors = features
                .iter()
                .zip(&self.inputs)
                .map(|(array, input)| Ok(tensor(array, input, start, real, run)?.into_tvalue()))
                .collect::<TractResult<TVec<_>>>()?;
            for (tensor, (into, output)) in plan.run(tensors)?.iter().zip(collected.iter_mut().zip(&self.outputs)) {
                ensure!(tensor.len() == run * output.width(), "output {} has {:?} values", output.name, tensor.shape());
                into.append(tensor, real * output.width())?;
            }
            start += real;
        }
        collected.into_iter().zip(&self.outputs).map(|(c, o)| c.finish(o.width(), rows)).collect()
    }
}

impl Scorer for OnnxScorer {
    fn score(&self, features: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>, ModelError> {
        let run = |reason| ModelError::Run { model: String::new(), reason };
        match guard(|| self.run(features, rows)) {
            Ok(result) => result.map_err(|e| run(chain(&e))),
            Err(panic) => Err(run(panic)),
        }
    }
    fn kernels(&self) -> Vec<String> {
        vec![format!("general graph of {} operators, run by tract", self.operators)]
    }
}

/// A plan with what is known about its outputs.
struct Built {
    plan: Plan,
    outputs: Vec<Column>,
    /// Bytes of all intermediate results, for one row.
    bytes_per_row: usize,
}

/// Optimises the graph for `batch` rows, a number or a symbol. Some operators panic on a symbol, and work on a number.
fn plan(graph: &InferenceModel, inputs: &[Column], batch: &TDim, deadline: Deadline) -> TractResult<Built> {
    guard(|| build_plan(graph, inputs, batch, deadline)).unwrap_or_else(|panic| bail!("{panic}"))
}

fn build_plan(graph: &InferenceModel, inputs: &[Column], batch: &TDim, deadline: Deadline) -> TractResult<Built> {
    let mut graph = graph.clone();
    for (index, input) in inputs.iter().enumerate() {
        let rank_of_file = graph.input_fact(index)?.shape.rank().concretize();
        let mut shape: TVec<TDim> = tvec!(batch.clone());
        shape.extend(input.shape.iter().map(|d| d.to_dim()));
        ensure!(rank_of_file.is_none_or(|r| r as usize == shape.len()), "input {} changed its rank", input.name);
        graph.set_input_fact(index, InferenceFact::dt_shape(input.datum, shape))?;
    }
    let mut typed = graph.into_typed()?;
    operators::widen(&mut typed)?;
    deadline.declutter(&mut typed)?;
    rows_first(&mut typed, batch)?;
    let mut outputs = vec![];
    for (index, outlet) in typed.output_outlets()?.iter().enumerate() {
        let name = typed.outlet_label(*outlet).map_or_else(|| format!("output_{index}"), str::to_owned);
        let fact = typed.outlet_fact(*outlet)?;
        let dims = fact.shape.dims();
        ensure!(dims.first() == Some(batch), "output \"{name}\" does not have one row per row of the input");
        let shape = dims[1..]
            .iter()
            .map(|dim| dim.to_usize())
            .collect::<Result<TVec<usize>, _>>()
            .with_context(|| format!("output \"{name}\" has no fixed width"))?;
        let column = Column { name, datum: fact.datum_type, shape };
        Collected::new(&column, 0)?;
        outputs.push(column);
    }
    sized_by_shapes(&typed)?;
    let rows = batch.to_usize().unwrap_or(1).max(1);
    let one = typed.symbols.get(ROWS).map(|s| SymbolValues::default().with(&s, 1)).unwrap_or_default();
    let mut bytes = 0usize;
    for fact in typed.nodes().iter().flat_map(|n| &n.outputs).map(|o| &o.fact).filter(|f| f.konst.is_none()) {
        let elements = fact.shape.volume().eval(&one).to_usize().unwrap_or(1);
        bytes = bytes.saturating_add(elements.saturating_mul(fact.datum_type.size_of()));
    }
    deadline.optimize(&mut typed)?;
    Ok(Built { plan: typed.into_runnable()?, outputs, bytes_per_row: bytes / rows })
}

/// Refuses a graph in which a value, and so a row, decides how large a result is: nothing else would bound it.
fn sized_by_shapes(typed: &TypedModel) -> TractResult<()> {
    let rows = typed.symbols.get(ROWS);
    for node in typed.nodes() {
        let dims = node.outputs.iter().flat_map(|output| output.fact.shape.iter());
        let foreign = dims.flat_map(TDim::symbols).any(|symbol| rows.as_ref() != Some(&symbol));
        ensure!(!foreign, "a value decides how large the result of {} {} is", node.op.name(), node.name);
    }
    Ok(())
}

/// Turns outputs `[targets, rows, ...]`, as models with several targets give them, into `[rows, targets, ...]`.
fn rows_first(typed: &mut TypedModel, batch: &TDim) -> TractResult<()> {
    let mut outlets = typed.output_outlets()?.to_vec();
    for outlet in &mut outlets {
        let dims: TVec<TDim> = typed.outlet_fact(*outlet)?.shape.iter().cloned().collect();
        if dims.first() != Some(batch) && dims.get(1) == Some(batch) {
            let label = typed.outlet_label(*outlet).map(str::to_owned);
            let name = format!("{}.rows_first", typed.node(outlet.node).name);
            *outlet = typed.wire_node(name, AxisOp::Move(1, 0), &[*outlet])?[0];
            if let Some(label) = label {
                typed.set_outlet_label(*outlet, label)?;
            }
        }
    }
    typed.select_output_outlets(&outlets)
}

fn column(input: &Input, rank: usize) -> Column {
    let datum = match input.data_type {
        DataType::Float64 => f64::datum_type(),
        DataType::Int64 => i64::datum_type(),
        DataType::Int32 => i32::datum_type(),
        DataType::Int16 => i16::datum_type(),
        DataType::Int8 => i8::datum_type(),
        DataType::UInt64 => u64::datum_type(),
        DataType::UInt32 => u32::datum_type(),
        DataType::UInt16 => u16::datum_type(),
        DataType::UInt8 => u8::datum_type(),
        DataType::Boolean => bool::datum_type(),
        DataType::Utf8 => String::datum_type(),
        _ => f32::datum_type(),
    };
    // A width of 1 may be `[batch]`, `[batch, 1]` or more in the graph.
    let shape = if input.width == 1 { tvec!(1; rank.saturating_sub(1)) } else { input.shape.iter().copied().collect() };
    Column { name: input.name.clone(), datum, shape }
}

/// Rows `start..start + real` of an input as a tensor of `run` rows; the last row fills it up.
fn tensor(array: &ArrayRef, input: &Column, start: usize, real: usize, run: usize) -> TractResult<Tensor> {
    let width = input.width();
    let mut shape: TVec<usize> = tvec!(run);
    shape.extend(input.shape.iter().copied());
    let (values, first) = match array.as_fixed_size_list_opt() {
        Some(list) => (list.values(), (list.offset() + start) * width),
        None => (array, start),
    };
    let (first, many) = (first, real * width);
    ensure!(first + many <= values.len(), "input {} is too short", input.name);
    let fill = run - real;
    macro_rules! of {
        ($kind:ty) => {
            numbers::<$kind>(values, first, many, width, fill, &shape)
        };
    }
    match input.datum {
        DatumType::F32 => return of!(Float32Type),
        DatumType::F64 => return of!(Float64Type),
        DatumType::I64 => return of!(Int64Type),
        DatumType::I32 => return of!(Int32Type),
        DatumType::I16 => return of!(Int16Type),
        DatumType::I8 => return of!(Int8Type),
        DatumType::U64 => return of!(UInt64Type),
        DatumType::U32 => return of!(UInt32Type),
        DatumType::U16 => return of!(UInt16Type),
        DatumType::U8 => return of!(UInt8Type),
        _ => {}
    }
    if input.datum == bool::datum_type() {
        let array = values.as_boolean_opt().with_context(|| format!("input {} is not BOOLEAN", input.name))?;
        let given = (first..first + many).map(|i| array.value(i));
        let last = (first + many - width..first + many).map(|i| array.value(i)).cycle().take(fill * width);
        Tensor::from_shape(&shape, &given.chain(last).collect::<Vec<bool>>())
    } else {
        let array = values.as_string_opt::<i32>().with_context(|| format!("input {} is not VARCHAR", input.name))?;
        let given = (first..first + many).map(|i| array.value(i).to_owned());
        let last = (first + many - width..first + many).map(|i| array.value(i).to_owned()).cycle().take(fill * width);
        tensor1(&given.chain(last).collect::<Vec<String>>()).into_shape(&shape)
    }
}

/// `many` numbers from `first`, and the last `width` of them again `fill` times.
fn numbers<T>(
    values: &ArrayRef,
    first: usize,
    many: usize,
    width: usize,
    fill: usize,
    shape: &[usize],
) -> TractResult<Tensor>
where
    T: ArrowPrimitiveType,
    T::Native: Datum + Copy,
{
    let array =
        values.as_primitive_opt::<T>().with_context(|| format!("{:?} given for {:?}", values.data_type(), T::DATA_TYPE))?;
    let given = &array.values()[first..first + many];
    if fill == 0 {
        return Tensor::from_shape(shape, given);
    }
    let mut padded = given.to_vec();
    padded.extend(given[many - width..].iter().cycle().take(fill * width));
    Tensor::from_shape(shape, &padded)
}

/// An output's values so far.
enum Collected {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    I16(Vec<i16>),
    I8(Vec<i8>),
    U64(Vec<u64>),
    U32(Vec<u32>),
    U16(Vec<u16>),
    U8(Vec<u8>),
    Bool(Vec<bool>),
    Text(Vec<i32>, Vec<u8>),
}

impl Collected {
    fn new(output: &Column, rows: usize) -> TractResult<Self> {
        let room = rows * output.width();
        Ok(match output.datum {
            DatumType::F32 => Self::F32(Vec::with_capacity(room)),
            DatumType::F64 => Self::F64(Vec::with_capacity(room)),
            DatumType::I64 | DatumType::TDim => Self::I64(Vec::with_capacity(room)),
            DatumType::I32 => Self::I32(Vec::with_capacity(room)),
            DatumType::I16 => Self::I16(Vec::with_capacity(room)),
            DatumType::I8 => Self::I8(Vec::with_capacity(room)),
            DatumType::U64 => Self::U64(Vec::with_capacity(room)),
            DatumType::U32 => Self::U32(Vec::with_capacity(room)),
            DatumType::U16 => Self::U16(Vec::with_capacity(room)),
            DatumType::U8 => Self::U8(Vec::with_capacity(room)),
            DatumType::Bool => Self::Bool(Vec::with_capacity(room)),
            DatumType::String => {
                let mut offsets = Vec::with_capacity(room + 1);
                offsets.push(0);
                Self::Text(offsets, Vec::with_capacity(room * 8))
            }
            other => bail!("output \"{}\" of type {other:?} is not supported yet", output.name),
        })
    }

    /// Appends the first `many` values of `tensor`.
    fn append(&mut self, tensor: &Tensor, many: usize) -> TractResult<()> {
        fn extend<T: Datum + Clone>(into: &mut Vec<T>, tensor: &Tensor, many: usize) -> TractResult<()> {
            into.extend_from_slice(&tensor.try_as_plain_ram()?.as_slice()?[..many]);
            Ok(())
        }
        match self {
            Self::F32(into) => extend(into, tensor, many),
            Self::F64(into) => extend(into, tensor, many),
            Self::I64(into) => extend(into, tensor.cast_to::<i64>()?.as_ref(), many),
            Self::I32(into) => extend(into, tensor, many),
            Self::I16(into) => extend(into, tensor, many),
            Self::I8(into) => extend(into, tensor, many),
            Self::U64(into) => extend(into, tensor, many),
            Self::U32(into) => extend(into, tensor, many),
            Self::U16(into) => extend(into, tensor, many),
            Self::U8(into) => extend(into, tensor, many),
            Self::Bool(into) => extend(into, tensor, many),
            Self::Text(offsets, bytes) => {
                for text in &tensor.try_as_plain_ram()?.as_slice::<String>()?[..many] {
                    bytes.extend_from_slice(text.as_bytes());
                    offsets.push(i32::try_from(bytes.len())?);
                }
                Ok(())
            }
        }
    }

    fn finish(self, width: usize, rows: usize) -> TractResult<ArrayRef> {
        fn array<T: ArrowPrimitiveType>(values: Vec<T::Native>) -> ArrayRef {
            Arc::new(PrimitiveArray::<T>::new(values.into(), None))
        }
        let values: ArrayRef = match self {
            Self::F32(values) => array::<Float32Type>(values),
            Self::F64(values) => array::<Float64Type>(values),
            Self::I64(values) => array::<Int64Type>(values),
            Self::I32(values) => array::<Int32Type>(values),
            Self::I16(values) => array::<Int16Type>(values),
            Self::I8(values) => array::<Int8Type>(values),
            Self::U64(values) => array::<UInt64Type>(values),
            Self::U32(values) => array::<UInt32Type>(values),
            Self::U16(values) => array::<UInt16Type>(values),
            Self::U8(values) => array::<UInt8Type>(values),
            Self::Bool(values) => Arc::new(BooleanArray::new(BooleanBuffer::from(values), None)),
            Self::Text(offsets, bytes) => {
                Arc::new(StringArray::try_new(OffsetBuffer::new(offsets.into()), bytes.into(), None)?)
            }
        };
        ensure!(values.len() == rows * width, "{} values for {rows} rows of {width}", values.len());
        if width == 1 {
            return Ok(values);
        }
        let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        Ok(Arc::new(FixedSizeListArray::try_new(field, i32::try_from(width)?, values, None)?))
    }
}

fn arrow_type(output: &Column) -> DataType {
    let element = match output.datum {
        DatumType::F64 => DataType::Float64,
        DatumType::I64 | DatumType::TDim => DataType::Int64,
        DatumType::I32 => DataType::Int32,
        DatumType::I16 => DataType::Int16,
        DatumType::I8 => DataType::Int8,
        DatumType::U64 => DataType::UInt64,
        DatumType::U32 => DataType::UInt32,
        DatumType::U16 => DataType::UInt16,
        DatumType::U8 => DataType::UInt8,
        DatumType::Bool => DataType::Boolean,
        DatumType::String => DataType::Utf8,
        _ => DataType::Float32,
    };
    match i32::try_from(output.width()) {
        Ok(width) if width != 1 => DataType::FixedSizeList(Arc::new(Field::new_list_field(element, true)), width),
        _ => element,
    }
}

/// tract's reasons on one line.
fn chain(error: &TractError) -> String {
    let text = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = text.chars().take(300).collect();
    if cut.len() < text.len() { format!("{cut}...") } else { cut }
}

fn failed(error: &TractError) -> ModelError {
    refuse(format!("the graph cannot be run: {}", chain(error)))
}
