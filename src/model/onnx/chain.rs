//! Graphs that are a chain of known steps, as a [`Chain`] of fused kernels.   graph ─► [`Matcher`], node by node ─► [`Matched`]
//!
//! A pipeline of scikit-learn or a small network of Keras is: columns, scaled, through a few dense layers, to probabilities
//! and the winner's class. Such a graph runs as one pass, without a general runtime between its steps. Whatever is not
//! known here, in all its details, makes the whole graph one for tract: no guess is ever made. To add an operator: an arm in
//! [`Matcher::node`] and a step in `model/fused/`; loading compares the chain with tract on made-up rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::DataType;
use tract_onnx::pb::tensor_proto::DataType as OnnxType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::super::fused::{Activation, Arithmetic, Chain, Dense, Norm, Step, Value};
use super::super::tree::Forest;
use super::operators::attribute;
use super::signature::Inputs;
use super::trees::{Labels, Lowered, lower};

/// A graph as a chain.
#[derive(Debug)]
pub(super) struct Matched {
    /// Trees, and what prepares their features; the chain then takes the scores.
    pub(super) trees: Option<(Chain, Forest)>,
    pub(super) chain: Chain,
    /// Where the first columns come from: an input of the signature and an element of it.
    pub(super) columns: Vec<(usize, usize)>,
    /// The graph's outputs, in the order of the chain's.
    pub(super) outputs: Vec<Made>,
}

/// An output of a chain.
#[derive(Debug, Clone)]
pub(super) enum Made {
    /// So many numbers per row.
    Numbers(usize),
    /// The class that won in the chain.
    Label(Classes),
    /// The class that the trees chose.
    Chosen(Classes),
}

/// What the classes are called.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Classes {
    Integers(Arc<[i64]>),
    Texts(Arc<[String]>),
}

impl Classes {
    fn len(&self) -> usize {
        match self {
            Self::Integers(all) => all.len(),
            Self::Texts(all) => all.len(),
        }
    }
}

/// What a name of the graph stands for.
#[derive(Debug, Clone)]
enum Known {
    /// Inputs that no step has touched.
    Columns(Vec<(usize, usize)>),
    /// A value of the chain; `flat` without the dimension of its columns.
    Matrix { value: Value, flat: bool },
    /// The class that wins in `of`. `index`: by its place among the columns.
    Label { of: Value, smallest: bool, classes: Classes, index: bool },
    /// The class that the trees chose.
    Chosen(Classes),
}

/// Matches a whole graph; `None` if any of it is not known.
pub(super) fn matched(graph: &GraphProto, given: &Inputs) -> Option<Matched> {
    let mut matcher = Matcher::new(graph, given)?;
    for node in &graph.node {
        matcher.node(node)?;
    }
    let mut outputs = Vec::new();
    for output in &graph.output {
        let made = match matcher.known.get(output.name.as_str())?.clone() {
            Known::Matrix { value, .. } => {
                let chain = matcher.chain.as_mut()?;
                chain.want_rows(value);
                Made::Numbers(chain.width(value))
            }
            Known::Label { of, smallest, classes, .. } => {
                matcher.chain.as_mut()?.want_winner(of, smallest);
                Made::Label(classes)
            }
            Known::Chosen(classes) => Made::Chosen(classes),
            Known::Columns(_) => return None,
        };
        outputs.push(made);
    }
    let Matcher { trees, chain: Some(chain), columns, .. } = matcher else { return None };
    let fit = chain.fits() && trees.as_ref().is_none_or(|(before, _)| before.fits());
    fit.then_some(Matched { trees, chain, columns, outputs })
}

struct Matcher<'a> {
    given: &'a Inputs,
    constants: HashMap<&'a str, &'a TensorProto>,
    /// How often a name is used, as an output of the graph too.
    uses: HashMap<&'a str, usize>,
    known: HashMap<&'a str, Known>,
    chain: Option<Chain>,
    trees: Option<(Chain, Forest)>,
    columns: Vec<(usize, usize)>,
    /// Values that several names stand for, or that are still needed: no step may overwrite them.
    pinned: HashSet<Value>,
}

impl<'a> Matcher<'a> {
    fn new(graph: &'a GraphProto, given: &'a Inputs) -> Option<Self> {
        let mut uses: HashMap<&str, usize> = HashMap::new();
        let used = graph.node.iter().flat_map(|n| &n.input).chain(graph.output.iter().map(|o| &o.name));
        used.for_each(|name| *uses.entry(name).or_default() += 1);
        let mut known = HashMap::new();
        for (index, (input, rank)) in given.inputs.iter().zip(&given.ranks).enumerate() {
            // Doubles are computed with as doubles: not here.
            if *rank != 2 || matches!(input.data_type, DataType::Utf8 | DataType::Float64) {
                return None;
            }
            let name = graph.input.iter().find(|i| i.name == input.name)?.name.as_str();
            known.insert(name, Known::Columns((0..input.width).map(|element| (index, element)).collect()));
        }
        let constants = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
        Some(Self { given, constants, uses, known, chain: None, trees: None, columns: vec![], pinned: HashSet::new() })
    }

    fn node(&mut self, node: &'a NodeProto) -> Option<()> {
        // Outputs beside the first are known only of classifiers.
        let classifier = matches!(node.op_type.as_str(), "LinearClassifier" | "TreeEnsembleClassifier");
        if !classifier && node.output.iter().skip(1).any(|o| self.uses.contains_key(o.as_str())) {
            return None;
        }
        if !matches!(node.domain.as_str(), "" | "ai.onnx" | "ai.onnx.ml") {
            return None;
        }
        let output = node.output.first()?.as_str();
        let float = |name: &str, default: f32| attribute(node, name).map_or(default, |a| a.f);
        let known = match node.op_type.as_str() {
            "Constant" => {
                let tensor = attribute(node, "value")?.t.as_ref()?;
                self.constants.insert(output, tensor);
                return Some(());
            }
            "Identity" | "Dropout" | "ZipMap" => self.alias(node)?,
            "Cast" => self.cast(node)?,
            "Concat" | "FeatureVectorizer" => self.concat(node)?,
            "Gather" | "ArrayFeatureExtractor" => self.pick(node)?,
            "Reshape" | "Flatten" | "Squeeze" => self.reshape(node)?,
            "Add" | "Sub" | "Mul" | "Div" | "Sum" => self.arithmetic(node)?,
            "MatMul" | "Gemm" => self.product(node)?,
            "BatchNormalization" => self.batch_normalization(node)?,
            "Scaler" => {
                let width = self.width_of(node)?;
                let of = |name: &str| columns_of(attribute(node, name)?.floats.clone(), width);
                let step = Step::Scale { offset: of("offset")?, scale: of("scale")? };
                self.step(node, step)?
            }
            "Imputer" => {
                let width = self.width_of(node)?;
                let values = columns_of(attribute(node, "imputed_value_floats")?.floats.clone(), width)?;
                self.step(node, Step::Impute { values, missing: float("replaced_value_float", 0.0) })?
            }
            "Normalizer" => {
                let norm = match text(node, "norm", "MAX")? {
                    "MAX" => Norm::Max,
                    "L1" => Norm::L1,
                    "L2" => Norm::L2,
                    _ => return None,
                };
                self.step(node, Step::Normalize(norm))?
            }
            "Softmax" => {
                matches!(attribute(node, "axis").map_or(1, |a| a.i), 1 | -1).then_some(())?;
                self.step(node, Step::Softmax)?
            }
            "Relu" => self.activation(node, Activation::Relu)?,
            "Tanh" => self.activation(node, Activation::Tanh)?,
            "Sigmoid" => self.activation(node, Activation::Sigmoid)?,
            "LeakyRelu" => self.activation(node, Activation::LeakyRelu(float("alpha", 0.01)))?,
            "Elu" => self.activation(node, Activation::Elu(float("alpha", 1.0)))?,
            "Clip" => {
                let bound = |index: usize, name: &str, default: f32| match node.input.get(index).filter(|n| !n.is_empty()) {
                    Some(name) => floats(self.constants.get(name.as_str())?)?.first().copied(),
                    None => Some(float(name, default)),
                };
                let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
                self.activation(node, Activation::Clip(low, high))?
            }
            "ArgMax" | "ArgMin" => self.winner(node)?,
            "LinearRegressor" => {
                (text(node, "post_transform", "NONE")? == "NONE").then_some(())?;
                let targets = usize::try_from(attribute(node, "targets").map_or(1, |a| a.i)).ok()?;
                let dense = self.linear(node, targets)?;
                self.step(node, Step::Dense(dense))?
            }
            "LinearClassifier" => return self.classifier(node),
            "TreeEnsemble" | "TreeEnsembleRegressor" | "TreeEnsembleClassifier" => return self.forest(node),
            _ => return None,
        };
        self.known.insert(output, known);
        Some(())
    }

    /// What the first input of a node stands for, under another name.
    fn alias(&mut self, node: &NodeProto) -> Option<Known> {
        let name = node.input.first()?.as_str();
        let known = self.known.get(name)?.clone();
        if let Known::Matrix { value, .. } = known
            && self.uses.get(name) != Some(&1)
        {
            self.pinned.insert(value);
        }
        Some(known)
    }

    fn cast(&mut self, node: &NodeProto) -> Option<Known> {
        let to = OnnxType::try_from(i32::try_from(attribute(node, "to")?.i).ok()?).ok()?;
        let known = self.alias(node)?;
        let whole = |(input, _): &(usize, usize)| self.given.inputs[*input].data_type == DataType::Int64;
        match (&known, to) {
            // What a column is read as when it is loaded.
            (Known::Columns(_) | Known::Matrix { .. }, OnnxType::Float) => Some(known),
            (Known::Columns(columns), OnnxType::Int64) if columns.iter().all(whole) => Some(known),
            (Known::Label { classes: Classes::Integers(_), .. } | Known::Chosen(Classes::Integers(_)), OnnxType::Int64)
            | (Known::Label { classes: Classes::Texts(_), .. } | Known::Chosen(Classes::Texts(_)), OnnxType::String) => {
                Some(known)
            }
            _ => None,
        }
    }

    fn concat(&mut self, node: &NodeProto) -> Option<Known> {
        let axis = if node.op_type == "Concat" { attribute(node, "axis")?.i } else { 1 };
        matches!(axis, 1 | -1).then_some(())?;
        let mut all = Vec::new();
        for input in &node.input {
            match self.known.get(input.as_str())? {
                Known::Columns(columns) => all.extend_from_slice(columns),
                _ => return None,
            }
        }
        if let Some(dims) = attribute(node, "inputdimensions") {
            (dims.ints.iter().sum::<i64>() == i64::try_from(all.len()).ok()?).then_some(())?;
        }
        Some(Known::Columns(all))
    }

    /// Columns by their numbers, or the names of classes by theirs.
    fn pick(&mut self, node: &NodeProto) -> Option<Known> {
        let (from, by) = (node.input.first()?.as_str(), node.input.get(1)?.as_str());
        if node.op_type == "ArrayFeatureExtractor"
            && let Some(Known::Label { of, smallest, index: true, classes }) = self.known.get(by).cloned()
        {
            let names = classes_of(self.constants.get(from)?)?;
            return (names.len() == classes.len()).then_some(Known::Label { of, smallest, classes: names, index: false });
        }
        if node.op_type == "Gather" {
            matches!(attribute(node, "axis").map_or(0, |a| a.i), 1 | -1).then_some(())?;
            (self.constants.get(by)?.dims.len() == 1).then_some(())?;
        }
        let width = self.width_of(node)?;
        let index = |i: &i64| usize::try_from(if *i < 0 { i + width as i64 } else { *i }).ok().filter(|i| *i < width);
        let picked = integers(self.constants.get(by)?)?.iter().map(index).collect::<Option<Vec<_>>>()?;
        (!picked.is_empty()).then_some(())?;
        match self.known.get(from)? {
            Known::Columns(columns) => Some(Known::Columns(picked.iter().map(|i| columns[*i]).collect())),
            _ => self.step(node, Step::Pick(picked)),
        }
    }

    /// Another shape of the same rows.
    fn reshape(&mut self, node: &NodeProto) -> Option<Known> {
        let known = self.alias(node)?;
        let (width, label) = match &known {
            Known::Matrix { value, .. } => (self.chain.as_ref()?.width(*value), false),
            Known::Label { .. } | Known::Chosen(_) => (1, true),
            Known::Columns(columns) => (columns.len(), false),
        };
        let flat = match node.op_type.as_str() {
            "Flatten" => (attribute(node, "axis").map_or(1, |a| a.i) == 1).then_some(false)?,
            "Squeeze" => {
                let axes = match (node.input.get(1), attribute(node, "axes")) {
                    (Some(name), _) => integers(self.constants.get(name.as_str())?)?,
                    (None, attribute) => attribute?.ints.clone(),
                };
                (width == 1 && matches!(axes.as_slice(), [1 | -1])).then_some(true)?
            }
            _ => match integers(self.constants.get(node.input.get(1)?.as_str())?)?.as_slice() {
                [-1] if width == 1 => true,
                [-1 | 0, columns] if usize::try_from(*columns).ok() == Some(width) => false,
                [0, -1] => false,
                _ => return None,
            },
        };
        match known {
            Known::Matrix { value, .. } => Some(Known::Matrix { value, flat }),
            Known::Columns(_) if flat => None,
            // One per row, whatever the shape.
            other => (label || !flat).then_some(other),
        }
    }

    fn arithmetic(&mut self, node: &NodeProto) -> Option<Known> {
        let [first, second] = node.input.as_slice() else { return None };
        let (value, constant, swapped) = match (self.constants.get(first.as_str()), self.constants.get(second.as_str())) {
            (None, Some(constant)) => (first, *constant, false),
            (Some(constant), None) => (second, *constant, true),
            _ => return None,
        };
        let value = self.matrix(value)?;
        let width = self.chain.as_ref()?.width(value);
        // One number per column, or one for all.
        constant.dims.iter().rev().skip(1).all(|d| *d == 1).then_some(())?;
        (constant.dims.len() <= 2).then_some(())?;
        let constants = columns_of(floats(constant)?, width)?;
        let operation = match (node.op_type.as_str(), swapped) {
            ("Add" | "Sum", _) => Arithmetic::Add,
            ("Mul", _) => Arithmetic::Multiply,
            ("Sub", false) => Arithmetic::Subtract,
            ("Sub", true) => Arithmetic::SubtractFrom,
            ("Div", false) => Arithmetic::Divide,
            ("Div", true) => Arithmetic::DivideInto,
            _ => return None,
        };
        let name = if swapped { second } else { first };
        let last = self.is_last(name, value);
        let chain = self.chain.as_mut()?;
        if operation == Arithmetic::Add && last && chain.last_dense(value).is_some_and(|dense| dense.fuse_bias(&constants)) {
            return Some(Known::Matrix { value, flat: false });
        }
        Some(Known::Matrix { value: chain.step(value, Step::Arithmetic(operation, constants), last), flat: false })
    }

    fn product(&mut self, node: &NodeProto) -> Option<Known> {
        let weights = *self.constants.get(node.input.get(1)?.as_str())?;
        let [rows, columns] = *weights.dims.as_slice() else { return None };
        let (rows, columns) = (usize::try_from(rows).ok()?, usize::try_from(columns).ok()?);
        let mut numbers = floats(weights)?;
        let is_set = |name: &str| attribute(node, name).is_some_and(|a| a.i != 0);
        let of = |name: &str| attribute(node, name).map_or(1.0, |a| a.f);
        (!is_set("transA")).then_some(())?;
        let (inputs, outputs) = if is_set("transB") { (columns, rows) } else { (rows, columns) };
        if is_set("transB") {
            numbers = transposed(&numbers, rows, columns);
        }
        numbers.iter_mut().for_each(|w| *w *= of("alpha"));
        let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => {
                let tensor = *self.constants.get(name.as_str())?;
                tensor.dims.iter().rev().skip(1).all(|d| *d == 1).then_some(())?;
                let given = columns_of(floats(tensor)?, outputs)?;
                Some(given.iter().map(|b| b * of("beta")).cycle().take(outputs).collect::<Vec<_>>())
            }
            None => None,
        };
        (self.width_of(node)? == inputs && numbers.len() == inputs * outputs && outputs > 0).then_some(())?;
        self.step(node, Step::Dense(Dense::new(inputs, outputs, &numbers, bias.as_deref())))
    }

    fn batch_normalization(&mut self, node: &NodeProto) -> Option<Known> {
        (attribute(node, "training_mode").is_none_or(|a| a.i == 0)).then_some(())?;
        let width = self.width_of(node)?;
        let of = |index: usize| {
            let values = floats(self.constants.get(node.input.get(index)?.as_str())?)?;
            (values.len() == width).then_some(values)
        };
        let (scale, bias, mean, variance) = (of(1)?, of(2)?, of(3)?, of(4)?);
        let epsilon = attribute(node, "epsilon").map_or(1e-5, |a| a.f);
        let scale = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let Known::Matrix { value, .. } = self.step(node, Step::Scale { offset: mean, scale })? else { return None };
        let value = self.chain.as_mut()?.step(value, Step::Arithmetic(Arithmetic::Add, bias), true);
        Some(Known::Matrix { value, flat: false })
    }

    fn activation(&mut self, node: &NodeProto, activation: Activation) -> Option<Known> {
        let name = node.input.first()?;
        let value = self.matrix(name)?;
        let last = self.is_last(name, value);
        let chain = self.chain.as_mut()?;
        if last && chain.last_dense(value).is_some_and(|dense| dense.fuse_activation(activation)) {
            return Some(Known::Matrix { value, flat: false });
        }
        Some(Known::Matrix { value: chain.step(value, Step::Activate(activation), last), flat: false })
    }

    fn winner(&mut self, node: &NodeProto) -> Option<Known> {
        let is = |name: &str, default: i64| attribute(node, name).map_or(default, |a| a.i);
        (matches!(is("axis", 0), 1 | -1) && is("select_last_index", 0) == 0).then_some(())?;
        let of = self.matrix(node.input.first()?)?;
        let count = i64::try_from(self.chain.as_ref()?.width(of)).ok()?;
        self.pinned.insert(of);
        let classes = Classes::Integers((0..count).collect());
        Some(Known::Label { of, smallest: node.op_type == "ArgMin", classes, index: true })
    }

    /// The layer of a linear model.
    fn linear(&mut self, node: &NodeProto, targets: usize) -> Option<Dense> {
        let width = self.width_of(node)?;
        let coefficients = &attribute(node, "coefficients")?.floats;
        (targets > 0 && coefficients.len() == targets * width).then_some(())?;
        let intercepts = attribute(node, "intercepts").map(|a| a.floats.as_slice()).filter(|i| !i.is_empty());
        intercepts.is_none_or(|i| i.len() == targets).then_some(())?;
        Some(Dense::new(width, targets, &transposed(coefficients, targets, width), intercepts))
    }

    fn classifier(&mut self, node: &'a NodeProto) -> Option<()> {
        let integers = attribute(node, "classlabels_ints").map_or(&[][..], |a| &a.ints);
        let strings = attribute(node, "classlabels_strings").map_or(&[][..], |a| &a.strings);
        let texts = strings.iter().map(|s| String::from_utf8(s.clone()).ok()).collect::<Option<Vec<_>>>()?;
        let classes = match (integers, texts.as_slice()) {
            (integers, []) => Classes::Integers(integers.into()),
            ([], texts) => Classes::Texts(texts.into()),
            _ => return None,
        };
        // One score for two classes has rules of its own.
        (classes.len() >= 2).then_some(())?;
        let dense = self.linear(node, classes.len())?;
        let Known::Matrix { value: raw, .. } = self.step(node, Step::Dense(dense))? else { return None };
        // The raw scores decide: probabilities may round to equal ones.
        self.pinned.insert(raw);
        let chain = self.chain.as_mut()?;
        let value = match text(node, "post_transform", "NONE")? {
            "NONE" => raw,
            "LOGISTIC" => chain.step(raw, Step::Activate(Activation::Sigmoid), false),
            "SOFTMAX" => chain.step(raw, Step::Softmax, false),
            _ => return None,
        };
        let label = Known::Label { of: raw, smallest: false, classes, index: false };
        self.known.insert(node.output.first()?, label);
        self.known.insert(node.output.get(1)?, Known::Matrix { value, flat: false });
        Some(())
    }

    /// Trees: what came before them prepares their features, what follows has their scores.
    fn forest(&mut self, node: &'a NodeProto) -> Option<()> {
        let value = self.matrix(node.input.first()?)?;
        let mut before = self.chain.take().filter(|_| self.trees.is_none())?;
        let Lowered { mut ensemble, labels, .. } = lower(node).ok()?;
        let width = before.width(value);
        (ensemble.width <= width).then_some(())?;
        ensemble.width = width;
        let forest = ensemble.compile().ok()?;
        before.want_rows(value);
        // Whatever else was made of the features cannot be had any more; who asks for it is not matched.
        self.known.clear();
        self.pinned.clear();
        let chain = Chain::new(forest.targets());
        let scores = Known::Matrix { value: chain.input(), flat: false };
        self.chain = Some(chain);
        self.trees = Some((before, forest));
        let mut outputs = node.output.iter().map(String::as_str);
        if let Some(labels) = labels {
            let classes = match labels {
                Labels::Numbers(numbers) => Classes::Integers(numbers.into()),
                Labels::Texts(texts) => Classes::Texts(texts.into()),
            };
            self.known.insert(outputs.next()?, Known::Chosen(classes));
        }
        self.known.insert(outputs.next()?, scores);
        Some(())
    }

    /// A step behind the first input of a node.
    fn step(&mut self, node: &NodeProto, step: Step) -> Option<Known> {
        let name = node.input.first()?;
        let value = self.matrix(name)?;
        let last = self.is_last(name, value);
        Some(Known::Matrix { value: self.chain.as_mut()?.step(value, step, last), flat: false })
    }

    /// Whether nothing but the node at hand needs the value.
    fn is_last(&self, name: &str, value: Value) -> bool {
        self.uses.get(name) == Some(&1) && !self.pinned.contains(&value)
    }

    /// The columns of a node's first input.
    fn width_of(&mut self, node: &NodeProto) -> Option<usize> {
        match self.known.get(node.input.first()?.as_str())? {
            Known::Columns(columns) => Some(columns.len()),
            Known::Matrix { value, flat: false } => Some(self.chain.as_ref()?.width(*value)),
            _ => None,
        }
    }

    /// A name as a value of the chain; inputs become the chain's.
    fn matrix(&mut self, name: &str) -> Option<Value> {
        match self.known.get(name)? {
            Known::Matrix { value, flat: false } => Some(*value),
            Known::Columns(columns) => {
                let columns = columns.clone();
                match &self.chain {
                    None => {
                        self.chain = Some(Chain::new(columns.len()));
                        self.columns = columns;
                    }
                    // Loaded once; whoever comes again must find it unchanged.
                    Some(_) => return None,
                }
                if self.uses.get(name) != Some(&1) {
                    self.pinned.insert(self.chain.as_ref()?.input());
                }
                Some(self.chain.as_ref()?.input())
            }
            _ => None,
        }
    }
}

/// One number for each of `width` columns, or one for all.
fn columns_of(numbers: Vec<f32>, width: usize) -> Option<Vec<f32>> {
    (numbers.len() == width || numbers.len() == 1).then_some(numbers)
}

fn text<'n>(node: &'n NodeProto, name: &str, default: &'n str) -> Option<&'n str> {
    attribute(node, name).map_or(Some(default), |a| std::str::from_utf8(&a.s).ok())
}

/// The numbers of a FLOAT constant.
fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    (tensor.data_type == OnnxType::Float as i32).then_some(())?;
    if tensor.raw_data.is_empty() {
        return Some(tensor.float_data.clone());
    }
    Some(tensor.raw_data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

/// The numbers of a constant of integers.
fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let raw = &tensor.raw_data;
    match OnnxType::try_from(tensor.data_type).ok()? {
        OnnxType::Int64 if raw.is_empty() => Some(tensor.int64_data.clone()),
        OnnxType::Int64 => Some(raw.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect()),
        OnnxType::Int32 if raw.is_empty() => Some(tensor.int32_data.iter().map(|i| i64::from(*i)).collect()),
        OnnxType::Int32 => Some(raw.as_chunks::<4>().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect()),
        _ => None,
    }
}

/// The names of classes; integers of 32 bits would be labels of another type.
fn classes_of(tensor: &TensorProto) -> Option<Classes> {
    if tensor.data_type == OnnxType::String as i32 {
        let texts = tensor.string_data.iter().map(|s| String::from_utf8(s.to_vec()).ok());
        return Some(Classes::Texts(texts.collect::<Option<Vec<_>>>()?.into()));
    }
    (tensor.data_type == OnnxType::Int64 as i32 || tensor.data_type == OnnxType::Int32 as i32).then_some(())?;
    Some(Classes::Integers(integers(tensor)?.into()))
}

fn transposed(numbers: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| (0..rows).map(move |r| numbers.get(r * columns + c).copied().unwrap_or(0.0))).collect()
}
