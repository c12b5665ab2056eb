//! placeholder
use tract_onnx::model::OnnxOpRegister;
pub(super) fn register(_: &mut OnnxOpRegister) {}
