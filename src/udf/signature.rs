//! What a source says about its function: name, types, kind.   text ─► syn ─► the one `#[udf]` function ─► [`Signature`]
//!
//! Arroyo's rules (arroyo-udf-common 0.2): arguments are integers, floats, bool, `&str`, `&[u8]`, `SystemTime`, `Duration`, `Option` of
//! these, or all of them `Vec` of these, which makes an aggregate; results are the same, owned. `async fn` with `ordered`,
//! `unordered`, `allowed_in_flight`, `timeout` is called with many rows in flight.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, TimeUnit};
use syn::punctuated::Punctuated;
use syn::{Expr, ExprLit, FnArg, GenericArgument, Item, ItemFn, Lit, Meta, Pat, PathArguments, ReturnType, Token, Type};

/// A function as its source declares it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Signature {
    /// The name in the source.
    pub name: String,
    /// Its arguments, at least one.
    pub arguments: Vec<Argument>,
    /// What it gives.
    pub returns: DataType,
    /// How it is called.
    pub kind: Kind,
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Argument {
    /// Its name in the source.
    pub name: String,
    /// Its type; of an aggregate, the type of one row's value.
    pub data_type: DataType,
    /// Whether the function wants to see NULLs (`Option`).
    pub nullable: bool,
}

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// With one row after the other.
    Scalar,
    /// With many rows at once, whose answers take their time.
    Async(AsyncOptions),
    /// With all rows of a group.
    Aggregate,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Async(_) => "async",
            Self::Aggregate => "aggregate",
        }
    }
}

/// What `#[udf(...)]` says of an async function; Arroyo's defaults. (`ordered` changes nothing here: results keep the order of rows.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AsyncOptions {
    /// How long one row may take.
    pub timeout: Duration,
    /// How many rows may be on their way at once.
    pub allowed_in_flight: usize,
}

impl Default for AsyncOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), allowed_in_flight: 1_000 }
    }
}

/// What is wrong with a source, and what to do.
pub type Mistake = (String, &'static str);

const ADD_UDF: &str = "Write #[udf] before the function: docs/udfs.md shows each kind.";
const TYPES: &str = "Arguments may be integers, floats, bool, &str, &[u8], SystemTime, Option of these, or Vec of these; \
                     results the same, with String and Vec<u8>.";

/// Reads the one function with `#[udf]` in the text of a source file.
///
/// # Errors
/// What keeps it from being called.
pub fn parse(text: &str) -> Result<Signature, Mistake> {
    let file =
        syn::parse_file(text).map_err(|e| (format!("no Rust: {e}"), "vatic udf check PATH shows the compiler's errors."))?;
    let mut found = file.items.iter().filter_map(|item| match item {
        Item::Fn(function) => udf_attribute(function).map(|attribute| (function, attribute)),
        _ => None,
    });
    let Some((function, attribute)) = found.next() else {
        return Err(("it has no function with #[udf]".to_owned(), ADD_UDF));
    };
    if let Some((second, _)) = found.next() {
        let text = format!("it has two functions with #[udf], \"{}\" and \"{}\"", function.sig.ident, second.sig.ident);
        return Err((text, "Put each into a file or crate of its own: a library can hold one."));
    }
    signature(function, attribute)
}

fn udf_attribute(function: &ItemFn) -> Option<&syn::Attribute> {
    function.attrs.iter().find(|attribute| attribute.path().segments.last().is_some_and(|last| last.ident == "udf"))
}

fn signature(function: &ItemFn, attribute: &syn::Attribute) -> Result<Signature, Mistake> {
    let name = function.sig.ident.to_string();
    let (mut arguments, mut lists) = (Vec::new(), 0);
    for (number, input) in function.sig.inputs.iter().enumerate() {
        let FnArg::Typed(input) = input else {
            return Err((format!("function \"{name}\" takes self"), "Write a function outside of impl."));
        };
        let label = match input.pat.as_ref() {
            Pat::Ident(ident) => ident.ident.to_string(),
            _ => format!("arg{}", number + 1),
        };
        let inner = generic("Vec", &input.ty);
        lists += usize::from(inner.is_some());
        let wrong = |what: String| (format!("argument \"{label}\" of function \"{name}\" {what}"), TYPES);
        let (data_type, nullable) = arrow_type(inner.unwrap_or(&input.ty), false).map_err(wrong)?;
        arguments.push(Argument { name: label, data_type, nullable });
    }
    if arguments.is_empty() {
        return Err((
            format!("function \"{name}\" takes no argument"),
            "Give it one: Arroyo calls a function once per row of its arguments.",
        ));
    }
    let ReturnType::Type(_, returned) = &function.sig.output else {
        return Err((format!("function \"{name}\" gives nothing"), "Give it a result: fn name(...) -> f64."));
    };
    let wrong = |what: String| (format!("the result of function \"{name}\" {what}"), TYPES);
    let (returns, _) = arrow_type(returned, true).map_err(wrong)?;
    let kind = match (function.sig.asyncness.is_some(), lists) {
        (false, 0) => Kind::Scalar,
        (true, 0) => Kind::Async(async_options(attribute)?),
        (false, n) if n == arguments.len() => Kind::Aggregate,
        (false, _) => {
            let text = format!("some arguments of function \"{name}\" are Vec and others are not");
            return Err((text, "An aggregate takes the rows of a group: make every argument a Vec."));
        }
        (true, _) => {
            let text = format!("function \"{name}\" is async and takes Vec");
            return Err((text, "Leave out one of the two: aggregates are not async."));
        }
    };
    Ok(Signature { name, arguments, returns, kind })
}

/// `T` of `outer<T>`, if `ty` is that; `Vec<u8>` is bytes as a result only.
fn generic<'t>(outer: &str, ty: &'t Type) -> Option<&'t Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == outer)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match (arguments.args.first(), arguments.args.len()) {
        (Some(GenericArgument::Type(inner)), 1) => Some(inner),
        _ => None,
    }
}

/// The Arrow type of a Rust type, and whether it is an `Option`. `owned` for results.
fn arrow_type(ty: &Type, owned: bool) -> Result<(DataType, bool), String> {
    if let Some(inner) = generic("Option", ty) {
        return match arrow_type(inner, owned)? {
            (_, true) => Err("is an Option of an Option".to_owned()),
            (data_type, false) => Ok((data_type, true)),
        };
    }
    if let Some(inner) = generic("Vec", ty) {
        return match word(inner).as_deref() {
            Some("u8") if owned => Ok((DataType::Binary, false)),
            Some("u8") => Err("must be &[u8], not Vec<u8>".to_owned()),
            _ => Err("is a Vec, which SQL has no type for there".to_owned()),
        };
    }
    let data_type = match ty {
        Type::Reference(reference) => match (reference.elem.as_ref(), owned) {
            (inner, false) if word(inner).as_deref() == Some("str") => DataType::Utf8,
            (Type::Slice(slice), false) if word(&slice.elem).as_deref() == Some("u8") => DataType::Binary,
            (_, true) => return Err("must be owned, not a reference: String, Vec<u8>, or a number".to_owned()),
            (inner, false) if word(inner).as_deref() == Some("String") => return Err("must be &str, not &String".to_owned()),
            (_, false) => return Err("must be a value, not a reference".to_owned()),
        },
        _ => match (word(ty).as_deref(), owned) {
            (Some("String"), true) => DataType::Utf8,
            (Some("String"), false) => return Err("must be &str, not String".to_owned()),
            (Some(name), _) => primitive(name).ok_or_else(|| format!("is of type {name}, which SQL has none for"))?,
            (None, _) => return Err("has a type that SQL has none for".to_owned()),
        },
    };
    Ok((data_type, false))
}

fn primitive(name: &str) -> Option<DataType> {
    Some(match name {
        "bool" => DataType::Boolean,
        "i8" => DataType::Int8,
        "i16" => DataType::Int16,
        "i32" => DataType::Int32,
        "i64" => DataType::Int64,
        "u8" => DataType::UInt8,
        "u16" => DataType::UInt16,
        "u32" => DataType::UInt32,
        "u64" => DataType::UInt64,
        "f32" => DataType::Float32,
        "f64" => DataType::Float64,
        "SystemTime" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "Duration" => DataType::Duration(TimeUnit::Microsecond),
        _ => return None,
    })
}

/// The last word of a path without arguments: `SystemTime` of `std::time::SystemTime`.
fn word(ty: &Type) -> Option<String> {
    let Type::Path(path) = ty else { return None };
    path.path.segments.last().filter(|last| last.arguments.is_none()).map(|last| last.ident.to_string())
}

fn async_options(attribute: &syn::Attribute) -> Result<AsyncOptions, Mistake> {
    const KNOWN: &str = "It may have ordered, unordered, allowed_in_flight = 100, timeout = \"5s\".";
    let mut options = AsyncOptions::default();
    let Meta::List(list) = &attribute.meta else { return Ok(options) };
    let parsed = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    for meta in parsed.map_err(|e| (format!("#[udf(...)] cannot be read: {e}"), KNOWN))? {
        let name = meta.path().get_ident().map(ToString::to_string).unwrap_or_default();
        let literal = match &meta {
            Meta::NameValue(pair) => match &pair.value {
                Expr::Lit(ExprLit { lit, .. }) => Some(lit),
                _ => None,
            },
            _ => None,
        };
        match (name.as_str(), literal) {
            ("ordered" | "unordered", None) => {}
            ("allowed_in_flight", Some(Lit::Int(number))) => {
                let number = number.base10_parse::<usize>().ok().filter(|n| *n > 0);
                options.allowed_in_flight =
                    number.ok_or_else(|| ("allowed_in_flight is no positive number".to_owned(), KNOWN))?;
            }
            ("timeout", Some(Lit::Str(text))) => {
                let text = text.value();
                options.timeout = duration(&text).ok_or_else(|| (format!("timeout = \"{text}\" is no duration"), KNOWN))?;
            }
            _ => return Err((format!("#[udf(...)] has \"{name}\", which is not known or has no such value"), KNOWN)),
        }
    }
    Ok(options)
}

/// `5s`, `100 ms`, as Arroyo reads it.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let n: u64 = text.get(..digits)?.parse().ok()?;
    Some(match text.get(digits..)?.trim_start() {
        "ns" | "nanos" => Duration::from_nanos(n),
        "µs" | "micros" => Duration::from_micros(n),
        "ms" | "millis" => Duration::from_millis(n),
        "s" | "secs" | "seconds" => Duration::from_secs(n),
        "m" | "mins" | "minutes" => Duration::from_secs(n.checked_mul(60)?),
        "h" | "hrs" | "hours" => Duration::from_secs(n.checked_mul(3_600)?),
        _ => return None,
    })
}

impl Signature {
    /// `name(a DOUBLE, b VARCHAR) -> DOUBLE`, with the types as `type_name` says them.
    #[must_use]
    pub fn text(&self, name: &str, type_name: impl Fn(&DataType) -> String) -> String {
        let arguments: Vec<String> =
            self.arguments.iter().map(|a| format!("{} {}", a.name, type_name(&a.data_type))).collect();
        format!("{name}({}) -> {}", arguments.join(", "), type_name(&self.returns))
    }
    /// The types that calls pass, in order.
    #[must_use]
    pub fn types(&self) -> Vec<DataType> {
        self.arguments.iter().map(|a| a.data_type.clone()).collect()
    }
    /// The field of the list in which an aggregate keeps argument `index`.
    #[must_use]
    pub fn list_item(&self, index: usize) -> Arc<Field> {
        let data_type = self.arguments.get(index).map_or(DataType::Null, |a| a.data_type.clone());
        Arc::new(Field::new_list_field(data_type, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Signature {
        parse(source).unwrap()
    }

    #[test]
    fn every_type_of_arroyo_is_known() {
        for (rust, data_type) in [
            ("i8", DataType::Int8),
            ("i16", DataType::Int16),
            ("i32", DataType::Int32),
            ("i64", DataType::Int64),
            ("u8", DataType::UInt8),
            ("u16", DataType::UInt16),
            ("u32", DataType::UInt32),
            ("u64", DataType::UInt64),
            ("f32", DataType::Float32),
            ("f64", DataType::Float64),
            ("bool", DataType::Boolean),
            ("SystemTime", DataType::Timestamp(TimeUnit::Microsecond, None)),
            ("std::time::SystemTime", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ] {
            let one = read(&format!("#[udf] fn f(x: {rust}, y: Option<{rust}>) -> Option<{rust}> {{ y }}"));
            assert_eq!((&one.arguments[0].data_type, one.arguments[0].nullable), (&data_type, false), "{rust}");
            assert_eq!((&one.arguments[1].data_type, one.arguments[1].nullable), (&data_type, true), "{rust}");
            assert_eq!((one.returns, one.kind), (data_type.clone(), Kind::Scalar), "{rust}");
            let many = read(&format!("#[udf] fn f(x: Vec<{rust}>, y: Vec<Option<{rust}>>) -> {rust} {{ x[0] }}"));
            assert_eq!((&many.arguments[1].data_type, many.arguments[1].nullable), (&data_type, true), "{rust}");
            assert_eq!(many.kind, Kind::Aggregate);
        }
        let texts = read("#[arroyo_udf_plugin::udf] fn f(a: &str, b: &[u8], c: Option<&str>) -> Vec<u8> { vec![] }");
        assert_eq!(texts.types(), [DataType::Utf8, DataType::Binary, DataType::Utf8]);
        assert_eq!(texts.returns, DataType::Binary);
        assert_eq!(read("#[udf] fn f(a: i64) -> String { String::new() }").returns, DataType::Utf8);
    }

    #[test]
    fn async_functions_tell_how_many_and_how_long() {
        let default = read("#[udf] async fn f(a: i64) -> i64 { a }");
        assert_eq!(default.kind, Kind::Async(AsyncOptions { timeout: Duration::from_secs(5), allowed_in_flight: 1_000 }));
        let told = read("#[udf(ordered, allowed_in_flight = 7, timeout = \"200 ms\")] async fn f(a: i64) -> i64 { a }");
        assert_eq!(told.kind, Kind::Async(AsyncOptions { timeout: Duration::from_millis(200), allowed_in_flight: 7 }));
        assert_eq!(read("#[udf(unordered)] async fn f(a: i64) -> i64 { a }").kind.name(), "async");
    }

    #[test]
    fn what_cannot_be_called_is_said() {
        for (source, text) in [
            ("fn f(a: i64) -> i64 { a }", "it has no function with #[udf]"),
            (
                "#[udf] fn f(a: i64) -> i64 { a } #[udf] fn g(a: i64) -> i64 { a }",
                "it has two functions with #[udf], \"f\" and \"g\"",
            ),
            ("#[udf] fn f() -> i64 { 1 }", "function \"f\" takes no argument"),
            ("#[udf] fn f(a: i64) { }", "function \"f\" gives nothing"),
            ("#[udf] fn f(a: String) -> i64 { 1 }", "argument \"a\" of function \"f\" must be &str, not String"),
            (
                "#[udf] fn f(a: u128) -> i64 { 1 }",
                "argument \"a\" of function \"f\" is of type u128, which SQL has none for",
            ),
            ("#[udf] fn f(a: &i64) -> i64 { 1 }", "argument \"a\" of function \"f\" must be a value, not a reference"),
            (
                "#[udf] fn f(a: i64) -> &str { \"\" }",
                "the result of function \"f\" must be owned, not a reference: String, Vec<u8>, or a number",
            ),
            ("#[udf] fn f(a: Vec<i64>, b: i64) -> i64 { b }", "some arguments of function \"f\" are Vec and others are not"),
            ("#[udf] async fn f(a: Vec<i64>) -> i64 { 1 }", "function \"f\" is async and takes Vec"),
            ("#[udf(timeout = \"soon\")] async fn f(a: i64) -> i64 { a }", "timeout = \"soon\" is no duration"),
        ] {
            assert_eq!(parse(source).unwrap_err().0, text, "{source}");
        }
    }
}
