//! What wrong attributes are refused with, and that no attributes make it fail otherwise.

use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto};

use super::lower::lower;

/// A regressor of one stump, `x[0] <= 0.5`.
fn stump() -> NodeProto {
    let attribute = |name: &str| AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    let ints = |name: &str, ints: &[i64]| AttributeProto { ints: ints.to_vec(), ..attribute(name) };
    let floats = |name: &str, floats: &[f32]| AttributeProto { floats: floats.to_vec(), ..attribute(name) };
    let modes = ["BRANCH_LEQ", "LEAF", "LEAF"].map(|m| m.as_bytes().to_vec()).to_vec();
    NodeProto {
        op_type: "TreeEnsembleRegressor".to_owned(),
        domain: "ai.onnx.ml".to_owned(),
        attribute: vec![
            ints("nodes_treeids", &[0, 0, 0]),
            ints("nodes_nodeids", &[0, 1, 2]),
            ints("nodes_featureids", &[0, 0, 0]),
            ints("nodes_truenodeids", &[1, 0, 0]),
            ints("nodes_falsenodeids", &[2, 0, 0]),
            AttributeProto { strings: modes, ..attribute("nodes_modes") },
            floats("nodes_values", &[0.5, 0.0, 0.0]),
            ints("target_ids", &[0, 0]),
            ints("target_nodeids", &[1, 2]),
            ints("target_treeids", &[0, 0]),
            floats("target_weights", &[1.0, 2.0]),
            AttributeProto { i: 1, ..attribute("n_targets") },
        ],
        ..NodeProto::default()
    }
}

/// Lowers, compiles and scores a few rows; the reason if that is not possible.
fn scored(node: &NodeProto) -> Result<Vec<f32>, String> {
    let lowered = lower(node).map_err(|e| e.to_string())?;
    let forest = lowered.ensemble.compile().map_err(|e| e.to_string())?;
    let rows = [0.25f32, 0.75, f32::NAN].map(|x| vec![x; forest.width()]).concat();
    let mut scores = vec![0f32; 3 * forest.targets()];
    let mut classes = [0; 3];
    forest.score(&rows, &mut scores, Some(&mut classes)).map_err(|e| e.to_string())?;
    let names = lowered.labels.map_or(usize::MAX, |labels| match labels {
        super::Labels::Numbers(names) => names.len(),
        super::Labels::Texts(names) => names.len(),
    });
    assert!(classes.iter().all(|class| (*class as usize) < names), "{classes:?} of {names}");
    Ok(scores)
}

fn change(name: &str, change: impl Fn(&mut AttributeProto)) -> NodeProto {
    let mut node = stump();
    node.attribute.iter_mut().filter(|a| a.name == name).for_each(change);
    node
}

#[test]
fn wrong_attributes_are_refused_with_the_reason() {
    assert_eq!(scored(&stump()).unwrap(), [1.0, 2.0, 2.0]);
    let reason = |name: &str, how: fn(&mut AttributeProto)| scored(&change(name, how)).unwrap_err();
    let length = "attribute nodes_featureids has 2 values where 3 are needed";
    assert_eq!(reason("nodes_featureids", |a| a.ints.truncate(2)), length);
    assert_eq!(reason("nodes_nodeids", |a| a.ints[2] = 1), "node 1 of tree 0 is there twice");
    assert_eq!(reason("nodes_truenodeids", |a| a.ints[0] = 7), "node 7 of tree 0 does not exist");
    assert_eq!(reason("target_nodeids", |a| a.ints[0] = 7), "node 7 of tree 0 does not exist");
    assert_eq!(reason("nodes_truenodeids", |a| a.ints[0] = 0), "the nodes of a tree form a cycle through split 0");
    let unknown = "attribute nodes_modes says \"BRANCH_X\", which is not known";
    assert_eq!(reason("nodes_modes", |a| a.strings[0] = b"BRANCH_X".to_vec()), unknown);
    let target = "target 5 does not exist: the ensemble of trees has 1";
    assert_eq!(reason("target_ids", |a| a.ints[0] = 5), target);
    assert_eq!(reason("nodes_featureids", |a| a.ints[0] = -1), "attribute nodes_featureids holds -1, which is out of range");
    assert!(reason("nodes_featureids", |a| a.ints[0] = 1 << 24).ends_with("values per row, more than 1048576"));
    assert_eq!(reason("n_targets", |a| a.i = 0), "the ensemble of trees has 0 classes for 0 targets");
    assert!(reason("n_targets", |a| a.i = i64::MAX).ends_with("which is out of range"));
    assert_eq!(reason("nodes_treeids", |a| a.ints.clear()), "attribute nodes_treeids has 0 values where 3 are needed");
    let mut none = stump();
    none.attribute.clear();
    assert_eq!(scored(&none).unwrap_err(), "the ensemble has no tree");
}

#[test]
fn no_attributes_make_it_fail_otherwise() {
    let mut state = 1u64;
    let mut random = move |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for name in ["tree_sets", "tree_integers", "tree_doubles_five", "tree_doubles"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/models/{name}.onnx"));
        let model: ModelProto = prost::Message::decode(&*std::fs::read(path).unwrap()).unwrap();
        let nodes = model.graph.unwrap().node;
        let (mut refused, mut used) = (0, 0);
        for _ in 0..300 {
            let mut node = nodes[random(nodes.len())].clone();
            for _ in 0..1 + random(3) {
                let at = random(node.attribute.len());
                let attribute = &mut node.attribute[at];
                let odd = [-1, 0, 1, 2, 3, 40, 1 << 20, i64::MAX, i64::MIN][random(9)];
                attribute.i = odd;
                let place = random(1 << 20);
                match attribute.ints.len() {
                    0 => {}
                    n if random(8) == 0 => attribute.ints.truncate(place % n),
                    n => attribute.ints[place % n] = odd,
                }
                match attribute.strings.len() {
                    0 => {}
                    n => attribute.strings[place % n] = [&b"LEAF"[..], b"BRANCH_EQ", b"\xff", b""][random(4)].to_vec(),
                }
                if let Some(tensor) = &mut attribute.t {
                    tensor.raw_data.truncate(place % (tensor.raw_data.len() + 1));
                    tensor.data_type = [1, 2, 8, 11, 99][random(5)];
                }
            }
            match scored(&node) {
                Ok(_) => used += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 50 && used > 5, "{name}: {refused} refused, {used} used");
    }
}
