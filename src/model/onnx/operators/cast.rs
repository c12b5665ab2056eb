//! Cast and CastLike, to the last bit as ONNX Runtime does them.
//!
//! tract makes a cast to INT64 one to its own type for dimensions, which goes through 32 bits. That is left to it where
//! dimensions are computed; `rewrite.rs` gives all other casts the names [`CAST`] and [`CAST_LIKE`], which no file can contain.
//! Between numbers tract's own cast is right, but for floats that an integer cannot hold: C++ leaves those undefined,
//! and what x86 makes of them is part of the models' meaning by now (NaN is the smallest integer).

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType as OnnxType;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_hir::internal::*;

use super::{Batch, Built, Fact, Node, attribute, slice};
use crate::model::trial;

/// A Cast of data.
pub(in crate::model::onnx) const CAST: &str = "VaticCast";
/// A CastLike of data.
pub(in crate::model::onnx) const CAST_LIKE: &str = "VaticCastLike";

pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert(CAST, |_, node| built(Some(target(node).context("to is not a type that is supported")?)));
    operators.insert(CAST_LIKE, |_, _| built(None));
}

fn built(to: Option<DatumType>) -> Built {
    Ok((expand(Cast { to }), vec![]))
}

/// The type that a Cast makes, if it is one that data can have here.
pub(in crate::model::onnx) fn target(node: &NodeProto) -> Option<DatumType> {
    Some(match OnnxType::try_from(i32::try_from(attribute(node, "to")?.i).ok()?).ok()? {
        OnnxType::Float => f32::datum_type(),
        OnnxType::Double => f64::datum_type(),
        OnnxType::Int64 => i64::datum_type(),
        OnnxType::Int32 => i32::datum_type(),
        OnnxType::Int16 => i16::datum_type(),
        OnnxType::Int8 => i8::datum_type(),
        OnnxType::Uint64 => u64::datum_type(),
        OnnxType::Uint32 => u32::datum_type(),
        OnnxType::Uint16 => u16::datum_type(),
        OnnxType::Uint8 => u8::datum_type(),
        OnnxType::Bool => bool::datum_type(),
        OnnxType::String => String::datum_type(),
        _ => return None,
    })
}

/// A cast to a type, or to that of the second input.
#[derive(Debug, Clone)]
struct Cast {
    to: Option<DatumType>,
}

/// tract's type for dimensions is INT64 to everyone else.
fn plain(kind: DatumType) -> DatumType {
    if kind == TDim::datum_type() { i64::datum_type() } else { kind }
}

impl Expansion for Cast {
    fn name(&self) -> StaticName {
        "Cast".into()
    }
    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, if self.to.is_some() { 1 } else { 2 })?;
        check_output_arity(outputs, 1)?;
        match self.to {
            Some(to) => solver.equals(&outputs[0].datum_type, to)?,
            None => solver.given(&inputs[1].datum_type, |solver, to| solver.equals(&outputs[0].datum_type, plain(to)))?,
        }
        solver.equals(&outputs[0].rank, &inputs[0].rank)?;
        solver.equals(&outputs[0].shape, &inputs[0].shape)
    }
    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let to = match (self.to, inputs.get(1)) {
            (Some(to), _) => to,
            (None, Some(like)) => plain(model.outlet_fact(*like)?.datum_type),
            (None, None) => bail!("CastLike takes two inputs"),
        };
        let mut input = inputs[0];
        if model.outlet_fact(input)?.datum_type == TDim::datum_type() {
            input = model.wire_node(format!("{prefix}.i64"), cast(i64::datum_type()), &[input])?[0];
        }
        let from = model.outlet_fact(input)?.datum_type;
        let text = String::datum_type();
        let own = from != to && (from == text || to == text || (from.is_float() && to.is_integer()));
        if own {
            model.wire_node(prefix, Node(Arc::new(Convert { to })), &[input])
        } else {
            model.wire_node(prefix, cast(to), &[input])
        }
    }
}

/// Gives data that meet dimensions in an addition all 64 bits: tract's cast to its own type for dimensions keeps 32.
///
/// # Errors
/// If a fact of the graph is missing.
pub(in crate::model::onnx) fn widen(typed: &mut TypedModel) -> TractResult<()> {
    let narrow = |node: &TypedNode| {
        let to = node.op_as::<tract_onnx::tract_core::ops::cast::Cast>().map(|cast| cast.to);
        let fact = node.inputs.first().map(|input| typed.outlet_fact(*input)).transpose()?;
        let data = fact.is_some_and(|f| f.datum_type == i64::datum_type() && f.konst.is_none() && f.uniform.is_none());
        TractResult::Ok((to == Some(TDim::datum_type()) && data).then_some(node.id))
    };
    let found: Vec<usize> = typed.nodes().iter().filter_map(|node| narrow(node).transpose()).collect::<TractResult<_>>()?;
    for id in found {
        typed.node_mut(id).op = Box::new(Node(Arc::new(ToDimensions)));
    }
    Ok(())
}

/// Integers as dimensions.
#[derive(Debug)]
struct ToDimensions;

impl Batch for ToDimensions {
    fn name(&self) -> &'static str {
        "Cast"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(_, shape)] = inputs else { bail!("takes one input, not {}", inputs.len()) };
        Ok(tvec!((TDim::datum_type(), shape.clone())))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let dims: Vec<TDim> = slice::<i64>(&inputs[0])?.iter().map(|number| number.to_dim()).collect();
        Ok(tvec!(tensor1(&dims).into_shape(inputs[0].shape())?.into_tvalue()))
    }
}

/// From floats to integers, and from and to texts.
#[derive(Debug)]
struct Convert {
    to: DatumType,
}

impl Batch for Convert {
    fn name(&self) -> &'static str {
        "Cast"
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(_, shape)] = inputs else { bail!("takes one input, not {}", inputs.len()) };
        Ok(tvec!((self.to, shape.clone())))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = &inputs[0];
        let out = match input.datum_type() {
            DatumType::String if self.to.is_float() => {
                let numbers = slice::<String>(input)?.iter().map(|text| of_text(text, number_of, self.to));
                tensor1(&numbers.collect::<TractResult<Vec<f64>>>()?).cast_to_dt(self.to)?.into_owned()
            }
            DatumType::String if self.to.is_unsigned() => {
                let numbers = slice::<String>(input)?.iter().map(|text| of_text(text, unsigned_of, self.to));
                tensor1(&numbers.collect::<TractResult<Vec<u64>>>()?).cast_to_dt(self.to)?.into_owned()
            }
            DatumType::String => {
                let numbers = slice::<String>(input)?.iter().map(|text| of_text(text, signed_of, self.to));
                tensor1(&numbers.collect::<TractResult<Vec<i64>>>()?).cast_to_dt(self.to)?.into_owned()
            }
            DatumType::Bool => texts(input, |flag: &bool| if *flag { "1".to_owned() } else { "0".to_owned() })?,
            kind if kind.is_float() => {
                let numbers = input.cast_to::<f64>()?;
                if self.to == String::datum_type() {
                    texts(&numbers, |x: &f64| text_of(*x))?
                } else {
                    whole(slice(&numbers)?, self.to)?
                }
            }
            DatumType::U64 => texts(input, u64::to_string)?,
            _ => texts(input.cast_to::<i64>()?.as_ref(), i64::to_string)?,
        };
        Ok(tvec!(out.into_shape(input.shape())?.into_tvalue()))
    }
}

fn texts<T: Datum>(input: &Tensor, text: impl Fn(&T) -> String) -> TractResult<Tensor> {
    Ok(tensor1(&slice::<T>(input)?.iter().map(text).collect::<Vec<String>>()))
}

/// What x86's conversions make of a float: of what does not fit, the smallest integer.
fn wide(x: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if (-END..END).contains(&x) { x as i64 } else { i64::MIN }
}

/// The same in 32 bits.
fn narrow(x: f64) -> i32 {
    let cut = x.trunc();
    if (-2_147_483_648.0..2_147_483_648.0).contains(&cut) { cut as i32 } else { i32::MIN }
}

fn whole(numbers: &[f64], to: DatumType) -> TractResult<Tensor> {
    fn all<T: Datum>(numbers: &[f64], of: impl Fn(f64) -> T) -> Tensor {
        tensor1(&numbers.iter().map(|x| of(*x)).collect::<Vec<T>>())
    }
    Ok(match to {
        DatumType::I64 => all(numbers, wide),
        DatumType::I32 => all(numbers, narrow),
        DatumType::I16 => all(numbers, |x| narrow(x) as i16),
        DatumType::I8 => all(numbers, |x| narrow(x) as i8),
        DatumType::U16 => all(numbers, |x| narrow(x) as u16),
        DatumType::U8 => all(numbers, |x| narrow(x) as u8),
        DatumType::U32 => all(numbers, |x| wide(x) as u32),
        // Its upper half is converted from 2^63 on, and what is beyond becomes 0.
        DatumType::U64 => all(numbers, |x| match x {
            x if x >= 18_446_744_073_709_551_616.0 => 0,
            x if x >= 9_223_372_036_854_775_808.0 => x as u64,
            x => wide(x) as u64,
        }),
        other => bail!("a cast of floats to {other:?} is not supported"),
    })
}

/// As C's `%.8g` has it.
fn text_of(x: f64) -> String {
    const DIGITS: i32 = 8;
    if x.is_nan() {
        return "NaN".to_owned();
    }
    if x.is_infinite() {
        return if x > 0.0 { "INF" } else { "-INF" }.to_owned();
    }
    let shortened = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    let scientific = format!("{x:.*e}", DIGITS as usize - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS).contains(&exponent) {
        return shortened(&format!("{x:.*}", usize::try_from(DIGITS - 1 - exponent).unwrap_or(0)));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", shortened(mantissa), exponent.unsigned_abs())
}

/// A text's number; in a trial, where texts are made up, one that is none counts as 0.
fn of_text<T: Default>(text: &str, number: fn(&str) -> Option<T>, to: DatumType) -> TractResult<T> {
    match number(text) {
        Some(number) => Ok(number),
        None if trial::is_on() => Ok(T::default()),
        None => bail!("\"{}\" cannot be cast to {to:?}", text.chars().take(40).collect::<String>()),
    }
}

/// A sign and what follows it, without spaces before.
fn signed(text: &str) -> (bool, &str) {
    let text = text.trim_ascii_start();
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// As C++'s `stod`: the longest beginning that is a number, and none for what a DOUBLE cannot hold.
fn number_of(text: &str) -> Option<f64> {
    let (negative, rest) = signed(text);
    let begins = |with: &str| rest.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    let size = if begins("inf") {
        f64::INFINITY
    } else if begins("nan") {
        f64::NAN
    } else if begins("0x") {
        // A hexadecimal number, which nobody writes into a table.
        return None;
    } else {
        let before = digits(rest);
        let fraction = rest[before..].strip_prefix('.').map_or(0, |rest| 1 + digits(rest));
        let mut end = before + fraction;
        if before == 0 && fraction < 2 {
            return None;
        }
        if let Some(exponent) = rest[end..].strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['-', '+']));
            let many = digits(&exponent[sign..]);
            end += if many > 0 { 1 + sign + many } else { 0 };
        }
        let number: f64 = rest[..end].parse().ok()?;
        let mantissa = rest.split(['e', 'E']).next().unwrap_or_default();
        let zero = !mantissa.bytes().any(|digit| (b'1'..=b'9').contains(&digit));
        if !zero && !number.is_normal() {
            return None;
        }
        number
    };
    Some(if negative { -size } else { size })
}

/// As C++'s `stoll`: the digits that the text begins with.
fn signed_of(text: &str) -> Option<i64> {
    let (negative, rest) = signed(text);
    let size: i128 = rest[..digits(rest)].parse().ok()?;
    i64::try_from(if negative { -size } else { size }).ok()
}

/// As C++'s `stoull`, which takes a sign and counts it from the end.
fn unsigned_of(text: &str) -> Option<u64> {
    let (negative, rest) = signed(text);
    let size: u64 = rest[..digits(rest)].parse().ok()?;
    Some(if negative { size.wrapping_neg() } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    // What ONNX Runtime 1.31.1 said on x86; `tests/models/standard_cast.json` has the types between each other.
    #[test]
    fn numbers_become_the_texts_of_the_reference() {
        for (number, text) in [
            (f64::from(0.4f32), "0.40000001"),
            (f64::from(1e-7f32), "1e-07"),
            (f64::from(1e-5f32), "9.9999997e-06"),
            (1.0 / 3.0, "0.33333333"),
            (123_456_789.0, "1.2345679e+08"),
            (100_000.5, "100000.5"),
            (99_999_999.0, "99999999"),
            (99_999_999.9, "1e+08"),
            (1e8, "1e+08"),
            (0.0001, "0.0001"),
            (-0.0, "-0"),
            (1e300, "1e+300"),
            (f64::NEG_INFINITY, "-INF"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(text_of(number), text);
        }
    }

    #[test]
    fn texts_become_the_numbers_of_the_reference() {
        for (text, number) in
            [("1e1", 10.0), (" 3", 3.0), ("3 ", 3.0), ("+4", 4.0), ("-INF", f64::NEG_INFINITY), ("infx", f64::INFINITY)]
        {
            assert_eq!(number_of(text), Some(number), "{text}");
        }
        for (text, number) in [("12abc", 12.0), (".5", 0.5), ("5.", 5.0), ("1e", 1.0), ("0e5", 0.0), ("1_000", 1.0)] {
            assert_eq!(number_of(text), Some(number), "{text}");
        }
        assert!(number_of("NaN").is_some_and(f64::is_nan));
        for text in ["", "abc", "true", ".", "-", "1e400", "1e-400", "1e-310", "0x10", "１", "-é"] {
            assert_eq!(number_of(text), None, "{text}");
        }
        for (text, number) in [("1e1", 1), ("1.5", 1), ("-2", -2), ("12abc", 12), ("0x10", 0), ("\t5", 5), (" -7 ", -7)] {
            assert_eq!(signed_of(text), Some(number), "{text}");
        }
        for text in ["", "abc", ".5", "-", "INF", "9223372036854775808", "99999999999999999999999999999999999999999999"] {
            assert_eq!(signed_of(text), None, "{text}");
        }
        assert_eq!(signed_of("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(unsigned_of("-2"), Some(u64::MAX - 1));
        assert_eq!(unsigned_of("18446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned_of("18446744073709551616"), None);
    }
}
