//! A time limit for tract's optimiser, which takes the cube of the number of nodes on some graphs.
//!
//! Each of the optimiser's passes is wrapped by one that looks at the clock before every step. When time is up the load
//! ends with an error, at the next step.

use std::time::{Duration, Instant};

use tract_onnx::tract_core::optim::{Optimizer, OptimizerSession, TypedPass};
use tract_onnx::tract_hir::internal::*;

/// When the work on one model must be done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

/// What optimising one model may take: hundreds of times what real ones need.
const LIMIT: Duration = Duration::from_secs(20);

impl Deadline {
    pub(super) fn start() -> Self {
        Self(Instant::now() + LIMIT)
    }

    /// Rewrites the graph to its simplest form, as `into_decluttered` does.
    pub(super) fn declutter(self, model: &mut TypedModel) -> TractResult<()> {
        self.wrap(Optimizer::declutter()).session().optimize(model)
    }

    /// Chooses the fastest operators, as `optimize` does.
    pub(super) fn optimize(self, model: &mut TypedModel) -> TractResult<()> {
        let optimizer = self.wrap(Optimizer::codegen());
        model.optimize_with_session(&mut optimizer.session())
    }

    fn wrap(self, mut optimizer: Optimizer) -> Optimizer {
        let passes = std::mem::take(&mut optimizer.passes);
        optimizer.passes =
            passes.into_iter().map(|pass| Box::new(Timed { pass, deadline: self }) as Box<dyn TypedPass>).collect();
        optimizer
    }
}

#[derive(Debug, Clone)]
struct Timed {
    pass: Box<dyn TypedPass>,
    deadline: Deadline,
}

impl TypedPass for Timed {
    fn reset(&mut self) -> TractResult<()> {
        self.pass.reset()
    }
    fn next(&mut self, session: &mut OptimizerSession, model: &TypedModel) -> TractResult<Option<TypedModelPatch>> {
        ensure!(Instant::now() < self.deadline.0, "optimising it takes more than {} seconds", LIMIT.as_secs());
        self.pass.next(session, model)
    }
    fn run_direct(&mut self, model: &mut TypedModel) -> TractResult<bool> {
        self.pass.run_direct(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_is_up_ends_the_work() {
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact([2])).unwrap();
        let y = model.wire_node("y", tract_onnx::tract_core::ops::math::exp(), &[x]).unwrap();
        model.select_output_outlets(&y).unwrap();
        Deadline::start().declutter(&mut model.clone()).unwrap();
        let error = Deadline(Instant::now()).declutter(&mut model).unwrap_err();
        assert!(format!("{error:#}").contains("takes more than 20 seconds"), "{error:#}");
    }
}
