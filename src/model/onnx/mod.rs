//! ONNX models, run by kernels of our own or by tract.
//!
//! ```text
//! bytes ─► scan (sizes, operators, order of nodes) ─► tract ─► plans: any batch, 64, 1024 ─► probe ─► Scorer
//!                                                  ├► chain of fused kernels, if all of the graph is known ─► same results? ─► Scorer
//!                                                  └► signature: inputs, outputs, classes, kind
//! ```
//!
//! From memory only: a model that keeps its weights in another file is refused. What is refused is refused *before*
//! scoring, with the reason: an operator that is not on the list of [`scan`], or a model whose rows influence each other
//! (then a score would depend on how a stream was cut into batches). To add an operator of `ai.onnx.ml`: write it in
//! [`operators`], prove it against ONNX Runtime (`tests/models/train.py`), then add its name to the list in [`scan`].

use std::sync::Arc;

use super::guard::guard;
use super::{Facts, Loaded, ModelError, ModelFormat, Scorer};

mod alike;
mod chain;
mod deadline;
mod direct;
mod header;
mod made_up;
mod operators;
mod outputs;
mod rewrite;
mod scan;
mod scorer;
mod signature;
mod trees;

/// The largest file that is looked at, in bytes.
pub const MAX_BYTES: usize = 64 << 20;

/// The format.
#[derive(Debug)]
pub struct Onnx;

impl ModelFormat for Onnx {
    fn name(&self) -> &'static str {
        "onnx"
    }

    fn sniff(&self, bytes: &[u8]) -> bool {
        scan::looks_like_onnx(bytes)
    }

    fn facts(&self, bytes: &[u8]) -> Facts {
        header::facts(bytes)
    }

    fn load(&self, bytes: &[u8]) -> Result<Loaded, ModelError> {
        guard(|| load(bytes)).unwrap_or_else(|panic| Err(refuse(format!("the file made the ONNX reader fail ({panic})"))))
    }
}

fn load(bytes: &[u8]) -> Result<Loaded, ModelError> {
    let mut model = scan::decode(bytes)?;
    operators::maps::to_columns(&mut model, bytes)?;
    model.graph.iter_mut().for_each(outputs::arrange);
    let graph = model.graph.as_ref().ok_or_else(|| refuse("the file holds no graph"))?;
    let inputs = signature::inputs(graph)?;
    let (general, outputs) = scorer::OnnxScorer::build(&model, &inputs, bytes.len())?;
    // Fused kernels where the whole graph is known to them and they give what tract gives.
    let direct = chain::matched(graph, &inputs).map(|matched| direct::DirectScorer::new(matched, &inputs.inputs));
    let scorer: Arc<dyn Scorer> = match direct.filter(|direct| direct.agrees(&general, &outputs)) {
        Some(direct) => Arc::new(direct),
        None => Arc::new(general),
    };
    let signature = signature::signature(graph, inputs, outputs);
    Ok(Loaded { signature, scorer })
}

/// A reason without a cause.
fn refuse(reason: impl Into<String>) -> ModelError {
    ModelError::Load { reason: reason.into(), source: None }
}

#[cfg(test)]
mod tests;
