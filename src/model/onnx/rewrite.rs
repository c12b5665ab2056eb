//! What is put differently before tract reads a graph: the same numbers by a shorter way.
//!
//! scikit-learn's exporter writes the distances of rows from fixed points as a Scan, a loop over the points with a graph of
//! its own inside. Nearest neighbours and Gaussian processes consist of little else, so such loops become one operator.
//!
//! And casts of data are told from those of dimensions, which tract computes with integers of its own.

use std::collections::HashSet;

use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, attribute_proto::AttributeType};

use super::operators::{CAST, CAST_LIKE, DISTANCES, attribute, cast_target};

/// The model with the loops that it knows replaced.
pub(super) fn rewritten(model: &ModelProto) -> ModelProto {
    let mut model = model.clone();
    if let Some(graph) = &mut model.graph {
        for index in 0..graph.node.len() {
            if let Some(shorter) = distances(&graph.node[index], graph) {
                graph.node[index] = shorter;
            }
        }
        casts(graph, &Names::default());
    }
    model
}

/// Names whose values no row decides.
#[derive(Debug, Default, Clone)]
struct Names {
    constants: HashSet<String>,
    /// Those that follow from the shape of something.
    dimensions: HashSet<String>,
}

/// Gives every Cast and CastLike of data the name of our own, in this graph and those inside it.
fn casts(graph: &mut GraphProto, outer: &Names) {
    let mut names = outer.clone();
    for input in &graph.input {
        names.constants.remove(&input.name);
        names.dimensions.remove(&input.name);
    }
    names.constants.extend(graph.initializer.iter().map(|t| t.name.clone()));
    for node in &mut graph.node {
        let of_dimensions = node.input.iter().any(|input| names.dimensions.contains(input));
        let fixed = |input: &String| input.is_empty() || names.constants.contains(input) || names.dimensions.contains(input);
        if matches!(node.op_type.as_str(), "Shape" | "Size") || (of_dimensions && node.input.iter().all(fixed)) {
            names.dimensions.extend(node.output.iter().cloned());
        } else {
            if node.input.iter().all(fixed) {
                names.constants.extend(node.output.iter().cloned());
            }
            match node.op_type.as_str() {
                "Cast" if cast_target(node).is_some() => node.op_type = CAST.to_owned(),
                "CastLike" => node.op_type = CAST_LIKE.to_owned(),
                _ => {}
            }
        }
        for inner in node.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)) {
            casts(inner, &names);
        }
    }
}

/// The operator for a Scan that computes, for each of its points, the distances of all rows from it.
fn distances(node: &NodeProto, graph: &GraphProto) -> Option<NodeProto> {
    let plain = node.op_type == "Scan" && node.input.len() == 2 && node.output.len() == 2;
    if !plain || node.attribute.iter().any(|a| !matches!(a.name.as_str(), "body" | "num_scan_inputs")) {
        return None;
    }
    let body = attribute(node, "body")?.g.as_ref()?;
    let ([rows, point], [state, result]) = (body.input.as_slice(), body.output.as_slice()) else { return None };
    let (rows, point) = (rows.name.as_str(), point.name.as_str());
    let maker = |name: &str| body.node.iter().find(|n| n.output.first().is_some_and(|o| o == name));
    // Names that only pass a value on.
    let behind = |name: &str| {
        let mut name = name.to_owned();
        for _ in 0..body.node.len() {
            match maker(&name) {
                Some(node) if node.op_type == "Identity" => name.clone_from(node.input.first()?),
                _ => break,
            }
        }
        Some(name)
    };
    // The rows stay as they are from point to point, and nobody looks at them afterwards.
    let used =
        |name: &String| graph.node.iter().any(|n| n.input.contains(name)) || graph.output.iter().any(|o| o.name == *name);
    if behind(&state.name)? != rows || used(&node.output[0]) {
        return None;
    }
    let sum = maker(&behind(&result.name)?)?;
    if !sums_each_row(sum, body, graph) {
        return None;
    }
    let inner = maker(&behind(sum.input.first()?)?)?;
    let (metric, difference) = match (sum.op_type.as_str(), inner.op_type.as_str()) {
        ("ReduceSumSquare", "Sub") => ("sqeuclidean", inner),
        ("ReduceSum", "Abs") => ("manhattan", maker(&behind(inner.input.first()?)?)?),
        _ => return None,
    };
    let between = [behind(difference.input.first()?)?, behind(difference.input.get(1)?)?];
    if difference.op_type != "Sub" || between != [rows, point] {
        return None;
    }
    let metric = AttributeProto {
        name: "metric".to_owned(),
        r#type: AttributeType::String as i32,
        s: metric.as_bytes().to_vec(),
        ..AttributeProto::default()
    };
    Some(NodeProto {
        op_type: DISTANCES.to_owned(),
        output: vec![node.output[1].clone()],
        attribute: vec![metric],
        domain: String::new(),
        ..node.clone()
    })
}

/// Whether a reduction is over axis 1 and takes it away: the axes are an attribute, or since opset 13 or 18 an input.
fn sums_each_row(node: &NodeProto, body: &GraphProto, graph: &GraphProto) -> bool {
    let axes = match node.input.get(1) {
        None => attribute(node, "axes").map(|a| a.ints.clone()),
        Some(name) => {
            let tensor = body.initializer.iter().chain(&graph.initializer).find(|t| t.name == *name);
            tensor.map(|t| {
                let raw = t.raw_data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b));
                raw.chain(t.int64_data.iter().copied()).collect()
            })
        }
    };
    axes.is_some_and(|axes| axes == [1]) && attribute(node, "keepdims").is_some_and(|a| a.i == 0)
}
