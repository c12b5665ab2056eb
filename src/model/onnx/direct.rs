//! Runs a [`Matched`] graph: Arrow arrays to rows of numbers, through the chain, to Arrow arrays.
//!
//! One tensor of FLOAT is read where it lies, by trees one of integers too; other inputs are put together in memory that the
//! thread keeps. Before a chain is used it has scored the same made-up rows as tract, and with the same result.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type};
use arrow::error::ArrowError;

use super::super::fused::{Chain, Target};
use super::super::guard::guard;
use super::super::inspect::made_up;
use super::super::tree::{Forest, TreeError, Value};
use super::super::{Input, ModelError, Output, Scorer};
use super::alike::alike;
use super::chain::{Classes, Made, Matched};

/// The largest difference from tract, of numbers above 1 relative to them.
const TOLERANCE: f64 = 1e-5;

/// A chain with what lies around it.
#[derive(Debug)]
pub(super) struct DirectScorer {
    /// Trees, and what prepares their features; the chain then takes their scores.
    trees: Option<(Chain, Forest)>,
    chain: Chain,
    columns: Vec<(usize, usize)>,
    inputs: Vec<Input>,
    outputs: Vec<Made>,
}

impl DirectScorer {
    pub(super) fn new(matched: Matched, inputs: &[Input]) -> Self {
        let Matched { trees, chain, columns, outputs } = matched;
        Self { trees, chain, columns, inputs: inputs.to_vec(), outputs }
    }

    /// Whether it gives what `other` gives, which has these outputs: names, types and values on made-up rows, small and large.
    /// None of them is NaN: tract makes numbers of it in Sigmoid, Tanh, Clip and some Relu, where ONNX Runtime, and so the chain,
    /// leaves it.
    pub(super) fn agrees(&self, other: &dyn Scorer, outputs: &[Output]) -> bool {
        let alike = outputs.len() == self.outputs.len()
            && outputs.iter().zip(&self.outputs).all(|(output, made)| output.data_type == made.data_type());
        alike && [1.0, 30.0, 1000.0].iter().all(|scale| self.agrees_at(other, *scale).unwrap_or(false))
    }

    fn agrees_at(&self, other: &dyn Scorer, scale: f32) -> Result<bool, ModelError> {
        const ROWS: usize = 64 + 16 + 3;
        let failed = |e: ArrowError| ModelError::Run { model: String::new(), reason: e.to_string() };
        let features = |input| scaled(&made_up(input, ROWS)?, scale);
        let features: Vec<ArrayRef> = self.inputs.iter().map(features).collect::<Result<_, _>>().map_err(failed)?;
        let (ours, theirs) = (self.score(&features, ROWS)?, other.score(&features, ROWS)?);
        Ok(ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| alike(a, b, TOLERANCE)))
    }

    fn run(&self, features: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        thread_local! {
            static GATHERED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
        }
        if features.len() != self.inputs.len() {
            return Err(ArrowError::InvalidArgumentError(format!("{} inputs given", features.len())));
        }
        if let Some(x) = self.as_they_lie::<Float32Type>(features, rows) {
            return self.scored(x, rows);
        }
        if let Some((_, forest)) = self.trees.as_ref().filter(|(before, _)| before.is_empty()) {
            if let Some(x) = self.as_they_lie::<Int64Type>(features, rows) {
                return self.walked(forest, x, rows);
            }
            if let Some(x) = self.as_they_lie::<Int32Type>(features, rows) {
                return self.walked(forest, x, rows);
            }
        }
        GATHERED.with_borrow_mut(|gathered| {
            gathered.resize(rows * self.columns.len(), 0.0);
            self.gather(features, gathered)?;
            self.scored(gathered, rows)
        })
    }

    /// From the features to the outputs.
    fn scored(&self, x: &[f32], rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        thread_local! {
            static PREPARED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
        }
        match &self.trees {
            None => self.chained(x, rows, vec![]),
            Some((before, forest)) if before.is_empty() => self.walked(forest, x, rows),
            Some((before, forest)) => PREPARED.with_borrow_mut(|prepared| {
                prepared.resize(rows * forest.width(), 0.0);
                before.run(x, rows, &mut [Target::Numbers(prepared)]);
                self.walked(forest, prepared, rows)
            }),
        }
    }

    /// From the features of the trees to the outputs.
    fn walked<N: Value>(&self, forest: &Forest, x: &[N], rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut scores = vec![0.0; rows * forest.targets()];
        let mut chosen = vec![0; if self.chooses() { rows } else { 0 }];
        let wanted = self.chooses().then_some(chosen.as_mut_slice());
        forest.score(x, &mut scores, wanted).map_err(|e: TreeError| ArrowError::ComputeError(e.to_string()))?;
        if !self.chain.is_plain() {
            return self.chained(&scores, rows, chosen);
        }
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for output in &self.outputs {
            outputs.push(output.array(match output {
                Made::Numbers(_) => Buffer::Numbers(scores.clone()),
                Made::Label(_) | Made::Chosen(_) => Buffer::Winners(std::mem::take(&mut chosen)),
            })?);
        }
        Ok(outputs)
    }

    /// Whether the classes that the trees chose are an output.
    fn chooses(&self) -> bool {
        self.outputs.iter().any(|o| matches!(o, Made::Chosen(_)))
    }

    /// The rows, if one tensor of this type holds just them.
    fn as_they_lie<'a, T: ArrowPrimitiveType>(&self, features: &'a [ArrayRef], rows: usize) -> Option<&'a [T::Native]> {
        let ([input], [array]) = (self.inputs.as_slice(), features) else { return None };
        let straight = self.columns.iter().enumerate().all(|(index, (_, element))| index == *element);
        (straight && self.columns.len() == input.width).then_some(())?;
        let (values, first) = flat(array, input.width);
        values.as_primitive_opt::<T>()?.values().get(first..first + rows * input.width)
    }

    /// Puts the columns side by side, a few rows at a time: what is read and written of them stays in the nearest cache.
    fn gather(&self, features: &[ArrayRef], into: &mut [f32]) -> Result<(), ArrowError> {
        const PART: usize = 64;
        let width = self.columns.len().max(1);
        let mut inputs = Vec::with_capacity(features.len());
        for (input, array) in self.inputs.iter().zip(features) {
            let (values, first) = flat(array, input.width);
            if first + into.len() / width * input.width > values.len() {
                return Err(ArrowError::InvalidArgumentError("an input is too short".to_owned()));
            }
            inputs.push((Numbers::of(values)?, first, input.width));
        }
        for (part, into) in into.chunks_mut(PART * width).enumerate() {
            for (column, (input, element)) in self.columns.iter().enumerate() {
                let (numbers, first, of) = &inputs[*input];
                let targets = into.iter_mut().skip(column).step_by(width);
                numbers.copy(first + part * PART * of + element, *of, targets);
            }
        }
        Ok(())
    }

    /// The outputs, of which the trees have chosen the classes.
    fn chained(&self, x: &[f32], rows: usize, mut chosen: Vec<u32>) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut made: Vec<Buffer> = self
            .outputs
            .iter()
            .map(|output| match output {
                Made::Numbers(width) => Buffer::Numbers(vec![0.0; rows * width]),
                Made::Label(_) => Buffer::Winners(vec![0; rows]),
                Made::Chosen(_) => Buffer::Winners(std::mem::take(&mut chosen)),
            })
            .collect();
        let of_chain = made.iter_mut().zip(&self.outputs).filter(|(_, output)| !matches!(output, Made::Chosen(_)));
        let mut targets: Vec<Target> = of_chain
            .map(|(buffer, _)| match buffer {
                Buffer::Numbers(numbers) => Target::Numbers(numbers),
                Buffer::Winners(winners) => Target::Winners(winners),
            })
            .collect();
        self.chain.run(x, rows, &mut targets);
        self.outputs.iter().zip(made).map(|(output, buffer)| output.array(buffer)).collect()
    }
}

/// The numbers of an input.
enum Numbers<'a> {
    Floats(&'a [f32]),
    Doubles(&'a [f64]),
    Longs(&'a [i64]),
    Integers(&'a [i32]),
    /// Those of another type, as FLOAT.
    Cast(ArrayRef),
}

impl<'a> Numbers<'a> {
    fn of(values: &'a ArrayRef) -> Result<Self, ArrowError> {
        Ok(match values.data_type() {
            DataType::Float32 => Self::Floats(values.as_primitive::<Float32Type>().values()),
            DataType::Float64 => Self::Doubles(values.as_primitive::<Float64Type>().values()),
            DataType::Int64 => Self::Longs(values.as_primitive::<Int64Type>().values()),
            DataType::Int32 => Self::Integers(values.as_primitive::<Int32Type>().values()),
            _ => Self::Cast(cast(values, &DataType::Float32)?),
        })
    }

    /// Each `step`-th from `from` on.
    fn copy<'t>(&self, from: usize, step: usize, to: impl Iterator<Item = &'t mut f32>) {
        fn put<'t, N: Value>(numbers: &[N], from: usize, step: usize, to: impl Iterator<Item = &'t mut f32>) {
            let numbers = numbers.get(from..).unwrap_or_default().iter().step_by(step);
            to.zip(numbers).for_each(|(to, number)| *to = number.single());
        }
        match self {
            Self::Floats(numbers) => put(numbers, from, step, to),
            Self::Doubles(numbers) => put(numbers, from, step, to),
            Self::Longs(numbers) => put(numbers, from, step, to),
            Self::Integers(numbers) => put(numbers, from, step, to),
            Self::Cast(numbers) => put(numbers.as_primitive::<Float32Type>().values(), from, step, to),
        }
    }
}

/// An output's memory.
enum Buffer {
    Numbers(Vec<f32>),
    Winners(Vec<u32>),
}

impl Made {
    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Numbers(1) => DataType::Float32,
            Self::Numbers(width) => {
                let field = Arc::new(Field::new_list_field(DataType::Float32, true));
                DataType::FixedSizeList(field, i32::try_from(*width).unwrap_or(i32::MAX))
            }
            Self::Label(Classes::Integers(_)) | Self::Chosen(Classes::Integers(_)) => DataType::Int64,
            Self::Label(Classes::Texts(_)) | Self::Chosen(Classes::Texts(_)) => DataType::Utf8,
        }
    }

    fn array(&self, buffer: Buffer) -> Result<ArrayRef, ArrowError> {
        Ok(match (self, buffer) {
            (
                Self::Label(Classes::Integers(classes)) | Self::Chosen(Classes::Integers(classes)),
                Buffer::Winners(winners),
            ) => Arc::new(winners.iter().map(|w| classes.get(*w as usize).copied().unwrap_or(0)).collect::<Int64Array>()),
            (Self::Label(Classes::Texts(classes)) | Self::Chosen(Classes::Texts(classes)), Buffer::Winners(winners)) => {
                let name = |w: &u32| classes.get(*w as usize).map_or("", String::as_str);
                Arc::new(StringArray::from_iter_values(winners.iter().map(name)))
            }
            (Self::Numbers(1), Buffer::Numbers(numbers)) => Arc::new(Float32Array::from(numbers)),
            (_, Buffer::Numbers(numbers)) => {
                let DataType::FixedSizeList(field, width) = self.data_type() else {
                    return Err(ArrowError::InvalidArgumentError("an output has no width".to_owned()));
                };
                Arc::new(FixedSizeListArray::try_new(field, width, Arc::new(Float32Array::from(numbers)), None)?)
            }
            _ => return Err(ArrowError::InvalidArgumentError("an output is missing".to_owned())),
        })
    }
}

impl Scorer for DirectScorer {
    fn score(&self, features: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>, ModelError> {
        let failed = |reason| ModelError::Run { model: String::new(), reason };
        match guard(|| self.run(features, rows)) {
            Ok(outputs) => outputs.map_err(|e| failed(e.to_string())),
            Err(panic) => Err(failed(panic)),
        }
    }

    fn kernels(&self) -> Vec<String> {
        let mut said = Vec::new();
        if let Some((before, forest)) = &self.trees {
            said.extend(before.describe());
            said.push(forest.describe());
        }
        said.extend(self.chain.describe());
        said
    }
}

/// The elements of an input's rows, and where the first row begins among them.
fn flat(array: &ArrayRef, width: usize) -> (&ArrayRef, usize) {
    match array.as_fixed_size_list_opt() {
        Some(list) => (list.values(), list.offset() * width),
        None => (array, 0),
    }
}

/// The same rows with larger numbers.
fn scaled(array: &ArrayRef, scale: f32) -> Result<ArrayRef, ArrowError> {
    let larger = |numbers: &ArrayRef| -> ArrayRef {
        match numbers.as_primitive_opt::<Float32Type>() {
            Some(numbers) => Arc::new(numbers.unary::<_, Float32Type>(|x| x * scale)),
            None => Arc::clone(numbers),
        }
    };
    match array.data_type() {
        DataType::FixedSizeList(field, width) => {
            let values = larger(array.as_fixed_size_list().values());
            Ok(Arc::new(FixedSizeListArray::try_new(field.clone(), *width, values, None)?))
        }
        _ => Ok(larger(array)),
    }
}
