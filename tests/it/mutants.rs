//! Models with something wrong in them, thousands of ways: each is loaded or refused, within its limits.
//!
//! ```text
//! tests/models/*.onnx ─► one to four changes of the decoded graph, or of bytes ─► vatic try-model ─► loads, or a reason
//! ```
//!
//! The same seed makes the same mutants; `VATIC_SEED` gives another and `VATIC_MUTANTS` more of them. A mutant that ends the
//! child by a signal, or that is told only by a limit, is a failure of this test: then a check in `src/model/onnx` is missing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, TensorProto};
use vatic::model::Sandbox;
use vatic::model::sandbox::Limits;

/// Numbers that come again with the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
    fn of<'a, T>(&mut self, all: &'a mut [T]) -> Option<&'a mut T> {
        let at = self.below(all.len());
        all.get_mut(at)
    }
    /// A number that programs tend to trip over.
    fn integer(&mut self) -> i64 {
        const ALL: [i64; 14] = [0, 1, -1, 2, 3, 7, 64, 255, 65_536, 1 << 31, -(1 << 31), 1 << 40, i64::MAX, i64::MIN];
        ALL[self.below(ALL.len())]
    }
    fn float(&mut self) -> f32 {
        const ALL: [f32; 8] = [0.0, -1.0, 1e30, -1e30, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40];
        ALL[self.below(ALL.len())]
    }
}

/// One change of a graph.
fn change(model: &mut ModelProto, random: &mut Random) {
    let Some(graph) = &mut model.graph else { return };
    let nodes = graph.node.len();
    if nodes == 0 {
        return;
    }
    match random.below(12) {
        0 => {
            let at = random.below(nodes);
            graph.node.swap(at, nodes - 1);
        }
        1 => {
            let copy = graph.node[random.below(nodes)].clone();
            graph.node.insert(random.below(nodes), copy);
        }
        2 => drop(graph.node.remove(random.below(nodes))),
        3 => {
            let from = graph.node[random.below(nodes)].clone();
            if let Some(node) = random.of(&mut graph.node) {
                node.op_type = from.op_type;
                node.domain = from.domain;
            }
        }
        4 => {
            let name = random.of(&mut graph.node).and_then(|node| node.output.first().cloned()).unwrap_or_default();
            if let Some(input) = random.of(&mut graph.node).and_then(|node| random.of(&mut node.input)) {
                *input = name;
            }
        }
        5 => {
            if let Some(node) = random.of(&mut graph.node) {
                match random.below(3) {
                    0 => drop(node.input.pop()),
                    1 => node.input.push(String::new()),
                    _ => node.output.push("more".to_owned()),
                }
            }
        }
        6 => {
            if let Some(tensor) = random.of(&mut graph.initializer) {
                change_tensor(tensor, random);
            }
        }
        7 => {
            let dims = graph.input.iter_mut().chain(&mut graph.output).filter_map(|value| {
                let tract_onnx::pb::type_proto::Value::TensorType(tensor) = value.r#type.as_mut()?.value.as_mut()?;
                tensor.shape.as_mut()
            });
            let mut shapes: Vec<_> = dims.collect();
            if let Some(dim) = random.of(&mut shapes).and_then(|shape| random.of(&mut shape.dim)) {
                use tract_onnx::pb::tensor_shape_proto::dimension::Value;
                dim.value = Some(Value::DimValue(random.integer()));
            }
        }
        _ => {
            let attributes = graph.node.iter_mut().flat_map(|node: &mut NodeProto| &mut node.attribute);
            let mut attributes: Vec<&mut AttributeProto> = attributes.collect();
            if let Some(attribute) = random.of(&mut attributes) {
                change_attribute(attribute, random);
            }
        }
    }
}

fn change_tensor(tensor: &mut TensorProto, random: &mut Random) {
    match random.below(5) {
        0 => tensor.dims.push(random.integer()),
        1 => drop(tensor.dims.pop()),
        2 => {
            let number = random.integer();
            if let Some(dim) = random.of(&mut tensor.dims) {
                *dim = number;
            }
        }
        3 => tensor.data_type = i32::try_from(random.below(18)).unwrap(),
        _ => {
            let (float, byte, number) = (random.float(), random.below(256), random.integer());
            if let Some(value) = random.of(&mut tensor.float_data) {
                *value = float;
            } else if let Some(value) = random.of(&mut tensor.int64_data) {
                *value = number;
            } else if let Some(value) = random.of(&mut tensor.raw_data) {
                *value = u8::try_from(byte).unwrap();
            }
        }
    }
}

fn change_attribute(attribute: &mut AttributeProto, random: &mut Random) {
    let (number, float) = (random.integer(), random.float());
    match random.below(8) {
        0 => attribute.i = number,
        1 => attribute.f = float,
        2 => attribute.s = b"NONSENSE".to_vec(),
        3 => drop((attribute.ints.pop(), attribute.floats.pop(), attribute.strings.pop())),
        4 => attribute.ints.push(number),
        5 => attribute.name = "other".to_owned(),
        _ => {
            if let Some(value) = random.of(&mut attribute.ints) {
                *value = number;
            } else if let Some(value) = random.of(&mut attribute.floats) {
                *value = float;
            } else if let Some(tensor) = &mut attribute.t {
                change_tensor(tensor, random);
            }
        }
    }
}

#[test]
fn every_mutant_loads_or_is_refused_with_a_reason() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|t| t.parse().ok()).unwrap_or(default);
    let (seed, count) = (number("VATIC_SEED", 20_261_121), number("VATIC_MUTANTS", 200));
    println!("VATIC_SEED={seed} VATIC_MUTANTS={count}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "onnx") && !path.ends_with("broken.onnx"));
    files.sort();
    let limits = Limits { memory: 2 << 30, cpu_s: 25, wall: Duration::from_secs(90) };
    let sandbox = Sandbox::new(PathBuf::from(env!("CARGO_BIN_EXE_vatic")), limits);
    let mut random = Random(seed.wrapping_mul(2).wrapping_add(1));
    let (mut loaded, mut refused) = (0, 0);
    for index in 0..count {
        let path = &files[random.below(files.len())];
        let good = std::fs::read(path).unwrap();
        let bytes = if random.below(5) == 0 {
            let mut bytes = good;
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = u8::try_from(random.below(256)).unwrap();
            }
            bytes
        } else {
            let mut model = ModelProto::decode(&good[..]).unwrap();
            (0..=random.below(4)).for_each(|_| change(&mut model, &mut random));
            model.encode_to_vec()
        };
        match sandbox.try_model(&bytes) {
            Ok(()) => loaded += 1,
            Err(error) => {
                let text = error.to_string();
                let harm = ["a process with", "nested too deeply", "takes more than"].iter().any(|t| text.contains(t));
                if harm {
                    let kept = std::env::temp_dir().join(format!("vatic-mutant-{seed}-{index}.onnx"));
                    std::fs::write(&kept, &bytes).unwrap();
                    panic!("mutant {index} of {}: {text} (kept as {})", path.display(), kept.display());
                }
                refused += 1;
            }
        }
    }
    println!("{loaded} loaded, {refused} refused");
    // Were everything refused, or nothing, the changes would not be what they are meant to be.
    assert!(loaded > count / 20 && refused > count / 4, "{loaded} loaded, {refused} refused");
}
