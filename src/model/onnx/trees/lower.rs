//! From the attributes of a tree operator to an [`Ensemble`].
//!
//! ```text
//! TreeEnsembleClassifier, TreeEnsembleRegressor (ai.onnx.ml 1 to 4): nodes by (tree, node) numbers, weights of leaves apart
//! TreeEnsemble (ai.onnx.ml 5): splits and leaves apart, by index ─► the same Ensemble
//! ```
//!
//! Where the specification is silent, this does what ONNX Runtime does: a tree's root is the first of its nodes, a single
//! target takes the first weight of a leaf and no transform but PROBIT, two classes of which both have weights are
//! labelled 1 and 0 whatever their labels are.

use std::collections::HashMap;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

use crate::model::tree::{Aggregate, Child, Ensemble, Head, MAX_NODES, Post, Precision, Split, Test, Weight};

/// A tree operator, ready to be compiled once the type and the width of its input are known.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::model::onnx) struct Lowered {
    /// `width` and `precision` are the least that the attributes need.
    pub(in crate::model::onnx) ensemble: Ensemble,
    /// What the classes are called, if it is a classifier.
    pub(in crate::model::onnx) labels: Option<Labels>,
    /// Whether its scores have the input's type, not `f32`.
    pub(in crate::model::onnx) scores_as_input: bool,
}

/// The names of classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::model::onnx) enum Labels {
    /// Numbers.
    Numbers(Vec<i64>),
    /// Texts.
    Texts(Vec<String>),
}

/// What is wrong with an operator's attributes.
#[derive(Debug, thiserror::Error)]
pub(in crate::model::onnx) enum LowerError {
    /// Lists that belong together differ in length.
    #[error("attribute {name} has {count} values where {wanted} are needed")]
    Length { name: &'static str, count: usize, wanted: usize },
    /// A word or number that means nothing.
    #[error("attribute {name} says \"{value}\", which is not known")]
    Unknown { name: &'static str, value: String },
    /// A node that is referred to does not exist.
    #[error("node {node} of tree {tree} does not exist")]
    Node { tree: i64, node: i64 },
    /// Two nodes have one number.
    #[error("node {node} of tree {tree} is there twice")]
    Twice { tree: i64, node: i64 },
    /// An index that must not be negative or is too large.
    #[error("attribute {name} holds {value}, which is out of range")]
    Range { name: &'static str, value: i64 },
    /// A tensor that is not of numbers, or not as long as its shape.
    #[error("attribute {name} is not a tensor of the right type")]
    Tensor { name: &'static str },
    /// A text that is not UTF-8.
    #[error("attribute {name} is not text")]
    Text { name: &'static str },
}

type Result<T> = std::result::Result<T, LowerError>;

/// Reads a node of one of the three operators.
///
/// # Errors
/// What is wrong with it.
pub(in crate::model::onnx) fn lower(node: &NodeProto) -> Result<Lowered> {
    let given = Given { node };
    match node.op_type.as_str() {
        "TreeEnsembleClassifier" => classifier(&given),
        "TreeEnsembleRegressor" => regressor(&given),
        _ => ensemble(&given),
    }
}

/// A node's attributes.
struct Given<'a> {
    node: &'a NodeProto,
}

impl<'a> Given<'a> {
    fn find(&self, name: &str) -> Option<&'a AttributeProto> {
        self.node.attribute.iter().find(|a| a.name == name)
    }
    fn ints(&self, name: &str) -> &'a [i64] {
        self.find(name).map_or(&[], |a| &a.ints)
    }
    fn int(&self, name: &str) -> Option<i64> {
        self.find(name).map(|a| a.i)
    }
    fn word(&self, name: &'static str, default: &'a str) -> Result<&'a str> {
        self.find(name).map_or(Ok(default), |a| std::str::from_utf8(&a.s).map_err(|_| LowerError::Text { name }))
    }
    /// Of `name`, or of the tensor `tensor`, which may be of doubles; with whether it is.
    fn numbers(&self, name: &str, tensor: &'static str) -> Result<(Vec<f64>, bool)> {
        match self.find(tensor).and_then(|a| a.t.as_ref()) {
            Some(given) => doubles(given, tensor),
            None => Ok((self.find(name).map_or(&[][..], |a| &a.floats).iter().map(|x| f64::from(*x)).collect(), false)),
        }
    }
    fn texts(&self, name: &'static str) -> Result<Vec<String>> {
        let given = self.find(name).map_or(&[][..], |a| &a.strings);
        given.iter().map(|s| String::from_utf8(s.clone()).map_err(|_| LowerError::Text { name })).collect()
    }
}

/// The numbers of a tensor, and whether they are doubles.
fn doubles(tensor: &TensorProto, name: &'static str) -> Result<(Vec<f64>, bool)> {
    let raw = &tensor.raw_data;
    Ok(match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) if raw.is_empty() => (tensor.float_data.iter().map(|x| f64::from(*x)).collect(), false),
        Ok(DataType::Float) => (raw.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(), false),
        Ok(DataType::Double) if raw.is_empty() => (tensor.double_data.clone(), true),
        Ok(DataType::Double) => (raw.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(), true),
        _ => return Err(LowerError::Tensor { name }),
    })
}

/// Whether lists that belong together have this length.
fn same_length<const N: usize>(wanted: usize, lists: [(&'static str, usize); N]) -> Result<()> {
    match lists.into_iter().find(|(_, count)| *count != wanted) {
        Some((name, count)) => Err(LowerError::Length { name, count, wanted }),
        None => Ok(()),
    }
}

/// An ensemble that has its targets and no trees yet.
fn bare(targets: usize, head: Head) -> Ensemble {
    Ensemble {
        width: 1,
        precision: Precision::Single,
        splits: vec![],
        leaves: vec![],
        weights: vec![],
        sets: vec![],
        roots: vec![],
        targets,
        aggregate: Aggregate::Sum,
        base: vec![],
        head,
    }
}

/// An index, which the compiler of trees will compare with what there is.
fn index(name: &'static str, value: i64) -> Result<u32> {
    u32::try_from(value).ok().filter(|v| (*v as usize) < 4 * MAX_NODES).ok_or(LowerError::Range { name, value })
}

fn precision(double: bool) -> Precision {
    if double { Precision::Double } else { Precision::Single }
}

fn post(word: &str) -> Result<Post> {
    Post::named(word).ok_or_else(|| LowerError::Unknown { name: "post_transform", value: word.to_owned() })
}

/// A single value is only ever transformed by PROBIT.
fn post_of_one(post: Post) -> Post {
    if post == Post::Probit { post } else { Post::None }
}

/// What a node asks, and whether NaN goes to its true branch. NaN differs from every number.
fn question(mode: &str, value: f64, tracks: bool) -> Result<(Test, bool)> {
    Ok(match mode {
        "BRANCH_LEQ" => (Test::AtMost(value), tracks),
        "BRANCH_LT" => (Test::Less(value), tracks),
        "BRANCH_GTE" => (Test::AtLeast(value), tracks),
        "BRANCH_GT" => (Test::Greater(value), tracks),
        "BRANCH_EQ" => (Test::Equal(value), tracks),
        "BRANCH_NEQ" => (Test::NotEqual(value), true),
        other => return Err(LowerError::Unknown { name: "nodes_modes", value: other.to_owned() }),
    })
}

fn classifier(given: &Given) -> Result<Lowered> {
    let texts = given.texts("classlabels_strings")?;
    let numbers = given.ints("classlabels_int64s");
    let count = if texts.is_empty() { numbers.len() } else { texts.len() };
    let names = ["class_ids", "class_nodeids", "class_treeids", "class_weights"];
    let (mut ensemble, singular) = nodes(given, names, "class_weights_as_tensor", count)?;
    let post = post(given.word("post_transform", "NONE")?)?;
    let positive = !ensemble.weights.iter().any(|w| w.value < 0.0);
    ensemble.head = match count {
        0 => return Err(LowerError::Length { name: "classlabels_int64s", count: 0, wanted: 1 }),
        1 => Head::Sign(post),
        2 => Head::Pair { post, single: singular, positive },
        _ => Head::Classes(post),
    };
    let literal = count == 1 || (count == 2 && !singular);
    let labels = match (texts.is_empty(), literal) {
        (false, _) if count == 1 => Labels::Texts(texts.iter().cycle().take(2).cloned().collect()),
        (false, _) => Labels::Texts(texts),
        (true, true) => Labels::Numbers(vec![0, 1]),
        (true, false) => Labels::Numbers(numbers.to_vec()),
    };
    Ok(Lowered { ensemble, labels: Some(labels), scores_as_input: false })
}

fn regressor(given: &Given) -> Result<Lowered> {
    let ids = given.ints("target_ids");
    let count = given.int("n_targets").unwrap_or_else(|| ids.iter().max().map_or(1, |last| last.saturating_add(1)));
    let count = index("n_targets", count)? as usize;
    let names = ["target_ids", "target_nodeids", "target_treeids", "target_weights"];
    let (mut ensemble, _) = nodes(given, names, "target_weights_as_tensor", count)?;
    let post = post(given.word("post_transform", "NONE")?)?;
    ensemble.head = Head::Values(if count == 1 { post_of_one(post) } else { post });
    let word = given.word("aggregate_function", "SUM")?;
    ensemble.aggregate = match word {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        _ => return Err(LowerError::Unknown { name: "aggregate_function", value: word.to_owned() }),
    };
    Ok(Lowered { ensemble, labels: None, scores_as_input: false })
}

/// The trees of the older operators, and whether all weights are for one target.
fn nodes(given: &Given, names: [&'static str; 4], tensor: &'static str, targets: usize) -> Result<(Ensemble, bool)> {
    let (trees, numbers) = (given.ints("nodes_treeids"), given.ints("nodes_nodeids"));
    let count = numbers.len();
    let (features, yes, no) =
        (given.ints("nodes_featureids"), given.ints("nodes_truenodeids"), given.ints("nodes_falsenodeids"));
    let tracks = given.ints("nodes_missing_value_tracks_true");
    let modes = given.find("nodes_modes").map_or(&[][..], |a| &a.strings);
    let (values, wide_values) = given.numbers("nodes_values", "nodes_values_as_tensor")?;
    let lists = [
        ("nodes_treeids", trees.len()),
        ("nodes_featureids", features.len()),
        ("nodes_truenodeids", yes.len()),
        ("nodes_falsenodeids", no.len()),
        ("nodes_modes", modes.len()),
        ("nodes_values", values.len()),
    ];
    same_length(count, lists)?;
    let mut by_number = HashMap::with_capacity(count);
    let (mut leaves, mut splits) = (0u32, 0u32);
    let mut children = Vec::with_capacity(count);
    for (at, mode) in modes.iter().enumerate() {
        let counter = if mode == b"LEAF" { &mut leaves } else { &mut splits };
        children.push(if mode == b"LEAF" { Child::Leaf(*counter) } else { Child::Split(*counter) });
        *counter += 1;
        if by_number.insert((trees[at], numbers[at]), at).is_some() {
            return Err(LowerError::Twice { tree: trees[at], node: numbers[at] });
        }
    }
    let find = |tree: i64, node: i64| by_number.get(&(tree, node)).copied().ok_or(LowerError::Node { tree, node });
    let mut ensemble = bare(targets, Head::Values(Post::None));
    ensemble.splits.reserve(splits as usize);
    for at in 0..count {
        if at == 0 || trees[at] != trees[at - 1] {
            ensemble.roots.push(children[at]);
        }
        if let Child::Leaf(_) = children[at] {
            continue;
        }
        let feature = index("nodes_featureids", features[at])?;
        let tracks = tracks.get(at).is_some_and(|t| *t == 1);
        let mode = std::str::from_utf8(&modes[at]).map_err(|_| LowerError::Text { name: "nodes_modes" })?;
        let (test, missing) = question(mode, values[at], tracks)?;
        let [yes, no] = [yes[at], no[at]].map(|node| find(trees[at], node).map(|at| children[at]));
        ensemble.splits.push(Split { feature, test, missing, yes: yes?, no: no? });
        ensemble.width = ensemble.width.max(feature as usize + 1);
    }
    let (weights, wide_weights) = given.numbers(names[3], tensor)?;
    let (base, wide_base) = given.numbers("base_values", "base_values_as_tensor")?;
    let [ids, of_nodes, of_trees] = [names[0], names[1], names[2]].map(|name| given.ints(name));
    let lists = [(names[1], of_nodes.len()), (names[2], of_trees.len()), (names[3], weights.len())];
    same_length(ids.len(), lists)?;
    // Weights in the order of the leaves, and of one leaf in the order given. Weights of inner nodes mean nothing.
    let mut sorted = Vec::with_capacity(ids.len());
    for at in 0..ids.len() {
        if let Child::Leaf(leaf) = children[find(of_trees[at], of_nodes[at])?] {
            sorted.push((leaf, Weight { target: index(names[0], ids[at])?, value: weights[at] }));
        }
    }
    sorted.sort_by_key(|(leaf, _)| *leaf);
    if targets == 1 {
        sorted.dedup_by_key(|(leaf, _)| *leaf);
    }
    ensemble.leaves = (0..leaves).map(|leaf| sorted.partition_point(|(of, _)| *of < leaf) as u32).collect();
    ensemble.weights = sorted.into_iter().map(|(_, weight)| weight).collect();
    ensemble.base = base;
    ensemble.precision = precision(wide_values || wide_weights || wide_base);
    Ok((ensemble, ids.windows(2).all(|pair| pair[0] == pair[1])))
}

/// The operator that replaces the two others.
fn ensemble(given: &Given) -> Result<Lowered> {
    let tensor = |name: &'static str| match given.find(name).and_then(|a| a.t.as_ref()) {
        Some(tensor) => doubles(tensor, name),
        None => Ok((vec![], false)),
    };
    let features = given.ints("nodes_featureids");
    let count = features.len();
    let (splits, wide) = tensor("nodes_splits")?;
    let (weights, _) = tensor("leaf_weights")?;
    let (members, _) = tensor("membership_values")?;
    let modes = given.find("nodes_modes").and_then(|a| a.t.as_ref());
    let modes: Vec<i32> = match modes {
        Some(tensor) if DataType::try_from(tensor.data_type) != Ok(DataType::Uint8) => {
            return Err(LowerError::Tensor { name: "nodes_modes" });
        }
        Some(tensor) if tensor.raw_data.is_empty() => tensor.int32_data.clone(),
        Some(tensor) => tensor.raw_data.iter().map(|b| i32::from(*b)).collect(),
        None => vec![],
    };
    let [yes, no, yes_leaves, no_leaves] =
        ["nodes_truenodeids", "nodes_falsenodeids", "nodes_trueleafs", "nodes_falseleafs"].map(|name| given.ints(name));
    let lists = [
        ("nodes_splits", splits.len()),
        ("nodes_modes", modes.len()),
        ("nodes_truenodeids", yes.len()),
        ("nodes_falsenodeids", no.len()),
        ("nodes_trueleafs", yes_leaves.len()),
        ("nodes_falseleafs", no_leaves.len()),
    ];
    same_length(count, lists)?;
    let targets = index("n_targets", given.int("n_targets").unwrap_or(1))? as usize;
    let ids = given.ints("leaf_targetids");
    same_length(ids.len(), [("leaf_weights", weights.len())])?;
    let child = |name, at: i64, leaf: i64| {
        Ok(if leaf == 0 { Child::Split(index(name, at)?) } else { Child::Leaf(index(name, at)?) })
    };
    // The specification says that 1 is SOFTMAX and 2 LOGISTIC; the reference, ONNX Runtime, has them the other way round.
    let post = match given.int("post_transform").unwrap_or(0) {
        0 => Post::None,
        1 => Post::Logistic,
        2 => Post::Softmax,
        3 => Post::SoftmaxZero,
        4 => Post::Probit,
        other => return Err(LowerError::Unknown { name: "post_transform", value: other.to_string() }),
    };
    let aggregate = match given.int("aggregate_function").unwrap_or(1) {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return Err(LowerError::Unknown { name: "aggregate_function", value: other.to_string() }),
    };
    let mut ensemble = bare(targets, Head::Values(if targets == 1 { post_of_one(post) } else { post }));
    (ensemble.precision, ensemble.aggregate) = (precision(wide), aggregate);
    ensemble.leaves = (0..ids.len() as u32).collect();
    ensemble.splits.reserve(count);
    for (id, value) in ids.iter().zip(weights) {
        ensemble.weights.push(Weight { target: index("leaf_targetids", *id)?, value });
    }
    let tracks = given.ints("nodes_missing_value_tracks_true");
    // The sets of the nodes that ask for membership, one after the other, NaN between them.
    let mut sets = members.split(|m| m.is_nan());
    for at in 0..count {
        let tracks = tracks.get(at).is_some_and(|t| *t == 1);
        let (test, missing) = match modes[at] {
            6 => {
                ensemble.sets.push(sets.next().unwrap_or_default().to_vec());
                (Test::Member(ensemble.sets.len() as u32 - 1), tracks)
            }
            mode => {
                let words = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];
                let number = || LowerError::Unknown { name: "nodes_modes", value: mode.to_string() };
                let word = usize::try_from(mode).ok().and_then(|m| words.get(m)).ok_or_else(number)?;
                question(word, splits[at], tracks)?
            }
        };
        let feature = index("nodes_featureids", features[at])?;
        ensemble.width = ensemble.width.max(feature as usize + 1);
        let yes = child("nodes_truenodeids", yes[at], yes_leaves[at])?;
        let no = child("nodes_falsenodeids", no[at], no_leaves[at])?;
        ensemble.splits.push(Split { feature, test, missing, yes, no });
    }
    for root in given.ints("tree_roots") {
        ensemble.roots.push(Child::Split(index("tree_roots", *root)?));
    }
    Ok(Lowered { ensemble, labels: None, scores_as_input: true })
}
