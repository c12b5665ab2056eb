//! The tree operators of `ai.onnx.ml` as one tract operator over our own [`Forest`].
//!
//! ```text
//! node ─► lower: Ensemble, labels ─► type and width of the input known: compile ─► Forest ─► labels [rows], scores [rows, n]
//! ```
//!
//! Values are compared in `f64` if the input is of doubles, else in `f32`, integers too: as ONNX Runtime does. tract's own
//! operator is not used: it is slow, and its labels of two classes are sometimes wrong.

use std::sync::Mutex;

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_hir::internal::*;

use crate::model::tree::{Forest, Number, Precision};

mod lower;

pub(super) use lower::{Labels, Lowered, lower};

/// Puts the operators into tract's reader.
pub(super) fn register(operators: &mut OnnxOpRegister) {
    for name in ["TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"] {
        operators.insert(name, build);
    }
}

fn build(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let described = Described { lowered: Arc::new(lower(node)?), compiled: Arc::default() };
    Ok((expand(described), vec![]))
}

/// The operator while the type of its input is not known.
#[derive(Debug, Clone)]
struct Described {
    lowered: Arc<Lowered>,
    /// The graph is wired once for each size of batches: they share the forest.
    compiled: Arc<Mutex<Option<Arc<Forest>>>>,
}

impl PartialEq for Described {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.lowered, &other.lowered)
    }
}

impl Eq for Described {}

impl Described {
    fn forest(&self, width: usize, precision: Option<Precision>) -> TractResult<Arc<Forest>> {
        let mut compiled = self.compiled.lock().map_err(|_| format_err!("compiling the trees failed before"))?;
        let precision = precision.unwrap_or(self.lowered.ensemble.precision);
        if let Some(forest) = compiled.as_ref().filter(|f| f.width() == width && f.precision() == precision) {
            return Ok(forest.clone());
        }
        let mut ensemble = self.lowered.ensemble.clone();
        ensure!(ensemble.width <= width, "a tree looks at value {} of {width}", ensemble.width);
        (ensemble.width, ensemble.precision) = (width, precision);
        Ok(compiled.insert(Arc::new(ensemble.compile()?)).clone())
    }
}

impl Expansion for Described {
    fn name(&self) -> StaticName {
        "VaticTrees".into()
    }
    fn nboutputs(&self) -> TractResult<usize> {
        Ok(1 + usize::from(self.lowered.labels.is_some()))
    }
    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, self.nboutputs()?)?;
        let scores = &outputs[outputs.len() - 1];
        solver.equals(&inputs[0].rank, 2)?;
        if self.lowered.scores_as_input {
            solver.equals(&scores.datum_type, &inputs[0].datum_type)?;
        } else {
            solver.equals(&scores.datum_type, f32::datum_type())?;
        }
        solver.equals(&scores.rank, 2)?;
        solver.equals(&scores.shape[0], &inputs[0].shape[0])?;
        solver.equals(&scores.shape[1], self.lowered.ensemble.targets.to_dim())?;
        if let Some(labels) = &self.lowered.labels {
            solver.equals(&outputs[0].datum_type, labels.datum_type())?;
            solver.equals(&outputs[0].rank, 1)?;
            solver.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
        }
        Ok(())
    }
    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut wire = tvec!(inputs[0]);
        let fact = model.outlet_fact(wire[0])?;
        let (given, width) = (fact.datum_type, fact.shape.dims().last().map_or(Ok(0), DimLike::to_usize)?);
        if given != f32::datum_type() && given != f64::datum_type() {
            ensure!(given.is_integer() || given == TDim::datum_type(), "trees of type {given:?} are not supported");
            wire = model.wire_node(format!("{prefix}.f32"), cast(f32::datum_type()), &wire)?;
        }
        let double = given == f64::datum_type();
        let scores = if self.lowered.scores_as_input && double { given } else { f32::datum_type() };
        let forest = self.forest(width, double.then_some(Precision::Double))?;
        model.wire_node(prefix, Trees { forest, labels: self.lowered.labels.clone().map(Arc::new), scores }, &wire)
    }
}

impl Labels {
    fn datum_type(&self) -> DatumType {
        match self {
            Self::Numbers(_) => i64::datum_type(),
            Self::Texts(_) => String::datum_type(),
        }
    }

    /// The names of some classes.
    fn of(&self, classes: &[u32]) -> Tensor {
        match self {
            Self::Numbers(names) => tensor1(&classes.iter().map(|c| names[*c as usize]).collect::<Vec<_>>()),
            Self::Texts(names) => tensor1(&classes.iter().map(|c| names[*c as usize].clone()).collect::<Vec<_>>()),
        }
    }
}

/// The operator that runs.
#[derive(Debug, Clone)]
struct Trees {
    forest: Arc<Forest>,
    labels: Option<Arc<Labels>>,
    scores: DatumType,
}

impl PartialEq for Trees {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.forest, &other.forest)
    }
}

impl Eq for Trees {}

impl Trees {
    /// Scores, and classes if there are labels.
    fn run<N: Number + Datum, O: Number + Datum>(&self, rows: &Tensor, classes: Option<&mut [u32]>) -> TractResult<Tensor> {
        let count = rows.shape()[0];
        let mut scores = Tensor::zero_dt(O::datum_type(), &[count, self.forest.targets()])?;
        let rows = rows.try_as_plain_ram()?;
        self.forest.score(rows.as_slice::<N>()?, scores.try_as_plain_ram_mut()?.as_slice_mut::<O>()?, classes)?;
        Ok(scores)
    }
}

impl Op for Trees {
    fn name(&self) -> StaticName {
        "VaticTrees".into()
    }
    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![self.forest.describe()])
    }
    op_as_typed_op!();
}

impl EvalOp for Trees {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let mut classes = vec![0u32; if self.labels.is_some() { input.shape()[0] } else { 0 }];
        let wanted = self.labels.is_some().then_some(classes.as_mut_slice());
        let scores = match (input.datum_type(), self.scores) {
            (DatumType::F64, DatumType::F64) => self.run::<f64, f64>(&input, wanted)?,
            (DatumType::F64, _) => self.run::<f64, f32>(&input, wanted)?,
            _ => self.run::<f32, f32>(&input, wanted)?,
        };
        let mut outputs = tvec!(scores.into_tvalue());
        if let Some(labels) = &self.labels {
            outputs.insert(0, labels.of(&classes).into_tvalue());
        }
        Ok(outputs)
    }
}

impl TypedOp for Trees {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = inputs[0].shape[0].clone();
        let mut facts = tvec!(self.scores.fact([rows.clone(), self.forest.targets().to_dim()]));
        if let Some(labels) = &self.labels {
            facts.insert(0, labels.datum_type().fact([rows]));
        }
        Ok(facts)
    }
    as_op!();
}
