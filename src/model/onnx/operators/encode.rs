//! LabelEncoder, CategoryMapper and OneHotEncoder: what a key stands for.
//!
//! A table maps keys to the numbers of values; the value for unknown keys is the last one. Floating keys are compared as
//! numbers (0 and -0 are one), and NaN is a key like others where the operator's version says so.

use std::collections::HashMap;

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::{
    Batch, Built, Fact, attribute, batch, classical_opset, floats, integer, integers, pick, slice, tensor, text, texts,
};
use crate::model::trial;

pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert("LabelEncoder", label_encoder);
    operators.insert("CategoryMapper", category_mapper);
    operators.insert("OneHotEncoder", one_hot);
}

/// What a LabelEncoder gives for an unknown key, where it does not say so itself.
const UNUSED: &str = "_Unused";

/// Keys of one type, each with the number of its value.
#[derive(Debug)]
enum Keys {
    Texts(HashMap<String, u32>),
    Integers(HashMap<i64, u32>),
    /// The bits of [`same`].
    Floats(HashMap<u64, u32>),
}

/// One bit pattern for all that count as one key; none for NaN where that is no key.
fn same(key: f64, nan: bool) -> Option<u64> {
    if key.is_nan() { nan.then_some(u64::MAX) } else { Some((key + 0.0).to_bits()) }
}

/// Of equal keys the first counts, or the last.
fn table<K: std::hash::Hash + Eq>(keys: impl Iterator<Item = K>, first: bool) -> HashMap<K, u32> {
    let mut table = HashMap::new();
    for (key, index) in keys.zip(0u32..) {
        if !first || !table.contains_key(&key) {
            table.insert(key, index);
        }
    }
    table
}

impl Keys {
    fn new(keys: &Tensor, nan: bool, first: bool) -> TractResult<Self> {
        Ok(match keys.datum_type() {
            DatumType::String => Self::Texts(table(slice::<String>(keys)?.iter().cloned(), first)),
            kind if kind.is_float() => {
                let keys = keys.cast_to::<f64>()?;
                // Keys that can never be met keep their place, under a number of their own.
                let unmet = |(index, key): (usize, &f64)| same(*key, nan).unwrap_or(0x7ff0_0000_0000_0001 + index as u64);
                Self::Floats(table(slice::<f64>(&keys)?.iter().enumerate().map(unmet), first))
            }
            kind if kind.is_integer() => {
                let keys = keys.cast_to::<i64>()?;
                Self::Integers(table(slice::<i64>(&keys)?.iter().copied(), first))
            }
            other => bail!("keys of type {other:?} are not supported"),
        })
    }

    fn takes(&self, kind: DatumType) -> bool {
        match self {
            Self::Texts(_) => kind == String::datum_type(),
            Self::Integers(_) => kind.is_integer(),
            Self::Floats(_) => kind.is_float(),
        }
    }

    /// The number of each input's value, `unknown` where there is none.
    fn find(&self, input: &Tensor, nan: bool, unknown: u32) -> TractResult<Vec<u32>> {
        Ok(match self {
            Self::Texts(table) => {
                slice::<String>(input)?.iter().map(|key| table.get(key.as_str()).copied().unwrap_or(unknown)).collect()
            }
            Self::Integers(table) => {
                let keys = input.cast_to::<i64>()?;
                slice::<i64>(&keys)?.iter().map(|key| table.get(key).copied().unwrap_or(unknown)).collect()
            }
            Self::Floats(table) => {
                let keys = input.cast_to::<f64>()?;
                let find = |key: &f64| same(*key, nan).and_then(|key| table.get(&key).copied());
                slice::<f64>(&keys)?.iter().map(|key| find(key).unwrap_or(unknown)).collect()
            }
        })
    }
}

/// Keys to values.
#[derive(Debug)]
struct Lookup {
    name: &'static str,
    keys: Keys,
    nan: bool,
    /// One per key, and the default.
    values: Tensor,
}

impl Lookup {
    fn new(
        name: &'static str,
        keys: &Tensor,
        values: &Tensor,
        default: Tensor,
        nan: bool,
        first: bool,
    ) -> TractResult<Self> {
        ensure!(keys.len() == values.len(), "{} keys and {} values do not fit", keys.len(), values.len());
        let keys = Keys::new(keys, nan, first)?;
        let (flat, default) = (values.clone().into_shape(&[values.len()])?, default.into_shape(&[1])?);
        ensure!(flat.datum_type() == default.datum_type(), "the default is of another type than the values");
        Ok(Self { name, keys, nan, values: Tensor::stack_tensors(0, &[flat, default])? })
    }
}

impl Batch for Lookup {
    fn name(&self) -> &'static str {
        self.name
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(kind, shape)] = inputs else { bail!("takes one input, not {}", inputs.len()) };
        ensure!(self.keys.takes(*kind), "a {} with keys of another type than {kind:?} is not supported", self.name);
        Ok(tvec!((self.values.datum_type(), shape.clone())))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let unknown = u32::try_from(self.values.len() - 1)?;
        let found = self.keys.find(&inputs[0], self.nan, unknown)?;
        Ok(tvec!(pick(&self.values, &found, inputs[0].shape())?.into_tvalue()))
    }
}

/// The first of these attributes that is there, as a tensor.
fn listed(context: &ParsingContext, node: &NodeProto, what: &str) -> TractResult<Tensor> {
    if let Some(given) = tensor(context, node, &format!("{what}_tensor"))? {
        return Ok(given);
    }
    let strings = texts(node, &format!("{what}_strings"))?;
    if !strings.is_empty() {
        return Ok(tensor1(&strings));
    }
    let whole = integers(node, &format!("{what}_int64s"));
    Ok(if whole.is_empty() { tensor1(floats(node, &format!("{what}_floats"))) } else { tensor1(whole) })
}

fn label_encoder(context: &ParsingContext, node: &NodeProto) -> Built {
    let classes = texts(node, "classes_strings")?;
    let default_text = text(node, "default_string", UNUSED)?.to_owned();
    if !classes.is_empty() {
        return batch(Positions::new(classes, default_text, integer(node, "default_int64", -1))?);
    }
    let (keys, values) = (listed(context, node, "keys")?, listed(context, node, "values")?);
    ensure!(keys.len() > 0, "a LabelEncoder needs keys");
    let default = match tensor(context, node, "default_tensor")?.filter(|t| t.len() == 1) {
        Some(given) => given,
        None => match values.datum_type() {
            DatumType::String => tensor0(default_text),
            kind if kind.is_integer() => tensor0(integer(node, "default_int64", -1)).cast_to_dt(kind)?.into_owned(),
            kind => tensor0(attribute(node, "default_float").map_or(-0.0, |a| a.f)).cast_to_dt(kind)?.into_owned(),
        },
    };
    batch(Lookup::new("LabelEncoder", &keys, &values, default, classical_opset(context) >= 4, true)?)
}

fn category_mapper(_: &ParsingContext, node: &NodeProto) -> Built {
    let (words, numbers) = (texts(node, "cats_strings")?, integers(node, "cats_int64s"));
    ensure!(!words.is_empty(), "a CategoryMapper needs categories");
    let (words, numbers) = (tensor1(&words), tensor1(numbers));
    let (text, number) = (text(node, "default_string", UNUSED)?.to_owned(), integer(node, "default_int64", -1));
    let forth = Lookup::new("CategoryMapper", &words, &numbers, tensor0(number), false, false)?;
    let back = Lookup::new("CategoryMapper", &numbers, &words, tensor0(text), false, false)?;
    batch(Positions { forth, back })
}

/// Texts to integers or integers to texts, whichever comes.
#[derive(Debug)]
struct Positions {
    forth: Lookup,
    back: Lookup,
}

impl Positions {
    fn new(words: Vec<String>, text: String, number: i64) -> TractResult<Self> {
        let numbers = tensor1(&(0..words.len() as i64).collect::<Vec<_>>());
        let words = tensor1(&words);
        Ok(Self {
            forth: Lookup::new("LabelEncoder", &words, &numbers, tensor0(number), false, false)?,
            back: Lookup::new("LabelEncoder", &numbers, &words, tensor0(text), false, false)?,
        })
    }

    fn of(&self, kind: DatumType) -> &Lookup {
        if kind == String::datum_type() { &self.forth } else { &self.back }
    }
}

impl Batch for Positions {
    fn name(&self) -> &'static str {
        self.forth.name
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(kind, _)] = inputs else { bail!("takes one input, not {}", inputs.len()) };
        self.of(*kind).outputs(inputs)
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.of(inputs[0].datum_type()).run(inputs)
    }
}

fn one_hot(_: &ParsingContext, node: &NodeProto) -> Built {
    let (numbers, strings) = (integers(node, "cats_int64s"), texts(node, "cats_strings")?);
    ensure!(numbers.is_empty() != strings.is_empty(), "needs either numbers or strings as categories");
    let categories = if strings.is_empty() { tensor1(numbers) } else { tensor1(&strings) };
    let zeros = integer(node, "zeros", 1) != 0;
    batch(OneHot { count: categories.len(), keys: Keys::new(&categories, false, false)?, zeros })
}

/// `[.., n]` keys become `[.., n, count]` of 0 and 1; an unknown one is all 0, or without `zeros` an error.
#[derive(Debug)]
struct OneHot {
    keys: Keys,
    count: usize,
    zeros: bool,
}

impl Batch for OneHot {
    fn name(&self) -> &'static str {
        "OneHotEncoder"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(kind, shape)] = inputs else { bail!("takes one input, not {}", inputs.len()) };
        // Numbers of any type are cut to integers.
        let fits = self.keys.takes(*kind) || (kind.is_float() && self.keys.takes(i64::datum_type()));
        ensure!(fits, "a OneHotEncoder with categories of another type than {kind:?} is not supported");
        let mut shape = shape.clone();
        shape.push(self.count.to_dim());
        Ok(tvec!((f32::datum_type(), shape)))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = &inputs[0];
        let unknown = u32::try_from(self.count)?;
        let found = if input.datum_type().is_float() {
            let numbers = input.cast_to::<f64>()?;
            // NaN and what is out of range is no category; a cast would make the nearest integer of it.
            let whole = |x: &f64| if x.abs() < 9.2e18 { *x as i64 } else { i64::MIN };
            let whole = tensor1(&slice::<f64>(&numbers)?.iter().map(whole).collect::<Vec<_>>());
            self.keys.find(&whole, false, unknown)?
        } else {
            self.keys.find(input, false, unknown)?
        };
        let mut out = vec![0f32; found.len() * self.count];
        for (row, index) in out.chunks_exact_mut(self.count).zip(&found) {
            match row.get_mut(*index as usize) {
                Some(one) => *one = 1.0,
                None => ensure!(self.zeros || trial::is_on(), "a value is none of the categories"),
            }
        }
        let mut shape: TVec<usize> = input.shape().into();
        shape.push(self.count);
        Ok(tvec!(tensor1(&out).into_shape(&shape)?.into_tvalue()))
    }
}
