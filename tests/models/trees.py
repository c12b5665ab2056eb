"""Writes the tree ensembles of this folder, and what ONNX Runtime makes of them.

    pip install -r requirements.txt && python trees.py

tree_NAME.onnx and tree_NAME.json are as train.py says. Models by scikit-learn, XGBoost, LightGBM and CatBoost, and made by
hand: every operator, mode, aggregate, transform, kind of label and type of number. The rows hold NaN, very large numbers, zeros of
both signs and values exactly on thresholds. Everything is seeded.
"""

import json
import pathlib
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
FLOAT, DOUBLE, INT64, INT32, STRING = (
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.STRING,
)
POSTS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
GRID = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, float(np.float32(0.1))]


def plain(array):
    """A flat list for JSON; NaN is null, infinities are texts, floats have their digits."""
    array = np.asarray(array)
    digits = ".17g" if array.dtype == np.float64 else ".9g"
    short = lambda v: None if v != v else float(format(v, digits)) if np.isfinite(v) else f"{v}"
    return [short(v) if isinstance(v, float) else v for v in array.ravel().tolist()]


def write(name, model, feeds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # several threads add up trees in another order
    model.producer_version = ""
    model.graph.doc_string = ""
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = []
    for meta, result in zip(session.get_outputs(), session.run(None, feeds)):
        if isinstance(result, list):  # ZipMap: one dict per row
            result = np.array([[row[key] for key in sorted(row)] for row in result], dtype=np.float32)
        outputs.append({"name": meta.name, "values": plain(result)})
    inputs = [{"name": key, "values": plain(array)} for key, array in feeds.items()]
    case = {"rows": len(next(iter(feeds.values()))), "inputs": inputs, "outputs": outputs}
    onnx.save(model, HERE / f"tree_{name}.onnx")
    (HERE / f"tree_{name}.json").write_text(json.dumps(case) + "\n")


# --- by hand ------------------------------------------------------------------------------------------------------------


def grow(random, depth, modes, width, skinny=False):
    """Nodes of a random tree: (mode, feature, value, yes, no) or None for a leaf."""
    nodes = []

    def go(left):
        at = len(nodes)
        nodes.append(None)
        if left > 0 and (at == 0 or random.random() > 0.15):
            mode = modes[random.integers(len(modes))]
            value = float(random.integers(0, 4)) if mode in MODES[4:] else GRID[random.integers(len(GRID))]
            feature = int(random.integers(width))
            yes = go(0 if skinny and random.random() < 0.8 else left - 1)
            nodes[at] = (mode, feature, value, yes, go(left - 1))
        return at

    go(depth)
    return nodes


def attributes(random, trees, targets, names, leaf, tensors=False, tracks=True):
    """The attributes of the older operators; `leaf(tree)` says for which targets a leaf has weights, and which."""
    kind, ids = names
    a = {f"nodes_{key}": [] for key in ["treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids"]}
    a |= {f"{kind}_{key}": [] for key in [ids, "nodeids", "treeids", "weights"]}
    a["nodes_missing_value_tracks_true"] = []
    for number, nodes in enumerate(trees):
        for at, node in enumerate(nodes):
            mode, feature, value, yes, no = node or ("LEAF", 0, 0.0, 0, 0)
            row = {"treeids": number, "nodeids": at, "featureids": feature, "values": value, "modes": mode}
            row |= {"truenodeids": yes, "falsenodeids": no, "missing_value_tracks_true": int(random.integers(2))}
            for key, given in row.items():
                a[f"nodes_{key}"].append(given)
            for target, weight in leaf(number) if node is None else []:
                for key, given in {ids: target, "nodeids": at, "treeids": number, "weights": weight}.items():
                    a[f"{kind}_{key}"].append(given)
    if not tracks:
        del a["nodes_missing_value_tracks_true"]
    if tensors:
        # Thresholds between two floats: only doubles tell values on one side from those on the other.
        values = np.array(a.pop("nodes_values")) + np.where(random.random(len(a["nodes_modes"])) < 0.3, 1e-9, 0)
        a["nodes_values_as_tensor"] = numpy_helper.from_array(values, "values")
        weights = np.array(a.pop(f"{kind}_weights")) + 1e-9
        a[f"{kind}_weights_as_tensor"] = numpy_helper.from_array(weights, "weights")
    return a


def rows(random, count, width, dtype):
    """Values on the thresholds, beside them, and anywhere."""
    x = random.choice(GRID + [4.0, 5.0, -0.3, 1e-8, 100.0], size=(count, width))
    anywhere = random.random((count, width)) < 0.3
    x[anywhere] = random.normal(size=(count, width))[anywhere]
    if np.issubdtype(dtype, np.integer):
        return np.floor(x).astype(dtype)
    x[random.random((count, width)) < 0.1] = np.nan
    x[0], x[1], x[2] = 3e38, -3e38, -0.0
    return x.astype(dtype)


class Graph:
    """A model of several tree operators on one input."""

    def __init__(self, seed, opset=3, element=FLOAT, width=4):
        self.random = np.random.default_rng(seed)
        self.opset, self.element, self.width = opset, element, width
        self.nodes, self.outputs = [], []

    def trees(self, count, depth=3, modes=MODES[:1], skinny=False):
        return [grow(self.random, depth, modes, self.width, skinny) for _ in range(count)]

    def weight(self):
        return float(np.float32(self.random.normal()))

    def add(self, operator, outputs, **given):
        number = len(self.nodes)
        outputs = [(f"{name}{number}", *kind) for name, *kind in outputs]
        self.nodes.append(helper.make_node(operator, ["x"], [o[0] for o in outputs], domain="ai.onnx.ml", **given))
        self.outputs += outputs

    def regressor(self, trees, targets=1, leaf=None, tensors=False, tracks=True, **given):
        every = lambda tree: [(k, self.weight()) for k in range(targets)]
        a = attributes(self.random, trees, targets, ("target", "ids"), leaf or every, tensors, tracks)
        self.add("TreeEnsembleRegressor", [("y", FLOAT, ["N", targets])], n_targets=targets, **a, **given)

    def classifier(self, trees, labels, leaf=None, tensors=False, **given):
        every = lambda tree: [(k, self.weight()) for k in range(len(labels))]
        a = attributes(self.random, trees, len(labels), ("class", "ids"), leaf or every, tensors)
        text = isinstance(labels[0], str)
        a["classlabels_strings" if text else "classlabels_int64s"] = labels
        outputs = [("label", STRING if text else INT64, ["N"]), ("p", FLOAT, ["N", len(labels)])]
        self.add("TreeEnsembleClassifier", outputs, **a, **given)

    def ensemble(self, trees, targets=1, sets=False, **given):
        """The operator of opset 5."""
        r, dtype = self.random, np.float64 if self.element == DOUBLE else np.float32
        a = {f"nodes_{key}": [] for key in ["featureids", "truenodeids", "falsenodeids", "trueleafs", "falseleafs"]}
        a |= {"nodes_missing_value_tracks_true": [], "leaf_targetids": [], "tree_roots": []}
        splits, modes, weights, members = [], [], [], []
        for nodes in trees:
            inner = [at for at, node in enumerate(nodes) if node]
            place = {at: len(splits) + number for number, at in enumerate(inner)}
            leaves = {}
            for at, node in enumerate(nodes):
                if node is None:
                    leaves[at] = len(weights)
                    a["leaf_targetids"].append(int(r.integers(targets)))
                    weights.append(self.weight())
            a["tree_roots"].append(place[0])
            for at in inner:
                mode, feature, value, yes, no = nodes[at]
                code = MODES.index(mode)
                if sets and code >= 4:
                    code, top = 6, 40 if r.random() < 0.5 else 5
                    members += [*map(float, r.choice(top, size=int(r.integers(1, 5)), replace=False)), float("nan")]
                splits.append(value)
                modes.append(code)
                a["nodes_featureids"].append(feature)
                a["nodes_missing_value_tracks_true"].append(int(r.integers(2)))
                for way, child in (("true", yes), ("false", no)):
                    a[f"nodes_{way}leafs"].append(int(child in leaves))
                    a[f"nodes_{way}nodeids"].append(leaves.get(child, place.get(child)))
        a["nodes_splits"] = numpy_helper.from_array(np.array(splits, dtype), "splits")
        a["nodes_modes"] = numpy_helper.from_array(np.array(modes, np.uint8), "modes")
        a["leaf_weights"] = numpy_helper.from_array(np.array(weights, dtype), "weights")
        if members:
            a["membership_values"] = numpy_helper.from_array(np.array(members, dtype), "members")
        self.add("TreeEnsemble", [("y", self.element, ["N", targets])], n_targets=targets, **a, **given)

    def write(self, name, count=40):
        dtype = {FLOAT: np.float32, DOUBLE: np.float64, INT64: np.int64, INT32: np.int32}[self.element]
        info = lambda name, kind, shape: helper.make_tensor_value_info(name, kind, shape)
        x = info("x", self.element, ["N", self.width])
        graph = helper.make_graph(self.nodes, "trees", [x], [info(*o) for o in self.outputs])
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="vatic")
        write(name, model, {"x": rows(self.random, count, self.width, dtype)})


def regressors():
    g = Graph(1)
    for mode in MODES:
        g.regressor(g.trees(3, modes=[mode]))
        g.regressor(g.trees(3, modes=[mode]), tracks=False)
    g.regressor(g.trees(9, 4, MODES), base_values=[0.25])
    g.regressor(g.trees(5, 14, MODES[:4], skinny=True))
    g.regressor(g.trees(1, 9))
    # A chain of == that ends in one node: a set of categories.
    chain = [("BRANCH_EQ", 0, float(v), 5, at + 1) for at, v in enumerate([3, 1, 0, 2])]
    chain += [("BRANCH_LEQ", 1, 0.5, 6, 7), None, None, None]
    g.regressor([chain, chain[:]])
    g.write("modes")

    g = Graph(8)
    for aggregate in ["SUM", "AVERAGE", "MIN", "MAX"]:
        g.regressor(g.trees(5), aggregate_function=aggregate, base_values=[0.5])
        g.regressor(g.trees(5), 3, aggregate_function=aggregate, base_values=[0.5, -0.25, 0.125])
        some = lambda tree: [(tree % 3, g.weight())]
        g.regressor(g.trees(2), 3, some, aggregate_function=aggregate, base_values=[0.5, -0.25, 0.125])
    for post in POSTS:
        g.regressor(g.trees(3), 3, post_transform=post)
        g.regressor(g.trees(1), leaf=lambda tree: [(0, 0.1 + 0.8 * g.random.random())], post_transform=post)
    g.write("regressors")


def classifiers():
    g = Graph(2)
    for post in POSTS:
        for labels in ([5, 7], ["no", "yes"]):
            g.classifier(g.trees(2), labels, lambda tree: [(1, g.weight())], post_transform=post)
            if post != "PROBIT":  # of a single score for two classes: ONNX Runtime does not write the second
                g.classifier(g.trees(2), labels, lambda tree: [(0, g.weight())], post_transform=post, base_values=[0.1])
                g.classifier(g.trees(2), labels, lambda tree: [(0, 0.3 * g.random.random())], post_transform=post)
        g.classifier(g.trees(2), [5, 7], post_transform=post)
        g.classifier(g.trees(2), ["a", "b", "c"], post_transform=post, base_values=[0.1, 0.0, -0.2])
        g.classifier(g.trees(3), [4, 2, 9], lambda tree: [(tree % 3, g.weight())], post_transform=post)
        g.classifier(g.trees(2), [4, 2, 9], lambda tree: [(int(g.random.integers(3)), g.weight())], post_transform=post)
    g.classifier(g.trees(3), ["no", "yes"], lambda tree: [(1, g.weight())], base_values=[0.5, 0.25])
    g.classifier(g.trees(3), ["no", "yes"], lambda tree: [(0, g.weight())], base_values=[0.5, 0.25])
    g.write("classifiers", 25)


def version_five():
    g = Graph(3, 5)
    for mode in MODES:
        g.ensemble(g.trees(3, modes=[mode]))
    for number in range(5):
        g.ensemble(g.trees(4, modes=MODES), 3, post_transform=number)
    for number in range(4):
        g.ensemble(g.trees(4, modes=MODES), 2, aggregate_function=number)
    g.write("version_five")
    # ONNX Runtime cuts off the fraction of a value before it looks for it in some sets: whole numbers only.
    g = Graph(4, 5)
    g.ensemble(g.trees(6, modes=MODES), sets=True)
    g.ensemble(g.trees(6, modes=MODES[4:5]), sets=True)
    x = np.floor(g.random.uniform(-2, 45, size=(40, g.width)))
    x[:20] = np.floor(x[:20] / 8)
    x[g.random.random(x.shape) < 0.1] = np.nan
    info = lambda name, kind, shape: helper.make_tensor_value_info(name, kind, shape)
    graph = helper.make_graph(g.nodes, "sets", [info("x", FLOAT, ["N", g.width])], [info(*o) for o in g.outputs])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 5)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="vatic")
    write("sets", model, {"x": x.astype(np.float32)})


def other_numbers():
    g = Graph(5, element=DOUBLE)
    g.regressor(g.trees(5, modes=MODES), tensors=True)
    g.regressor(g.trees(5, modes=MODES), 2, tensors=False)
    g.regressor(g.trees(5, 12, MODES[:4], skinny=True), tensors=True, aggregate_function="AVERAGE")
    g.classifier(g.trees(5), ["a", "b", "c"], tensors=True, post_transform="SOFTMAX")
    g.classifier(g.trees(5), [0, 1], lambda tree: [(0, g.weight())], tensors=True, post_transform="LOGISTIC")
    g.write("doubles")
    g = Graph(6, 5, DOUBLE)
    g.ensemble(g.trees(5, modes=MODES))
    g.ensemble(g.trees(5, modes=MODES), 3, post_transform=2)
    g.write("doubles_five")
    for element, name in ((INT64, "integers"), (INT32, "short_integers")):
        g = Graph(7, element=element)
        g.classifier(g.trees(5, modes=MODES), ["a", "b", "c"])
        g.classifier(g.trees(5), [0, 1], lambda tree: [(0, g.weight())], post_transform="LOGISTIC")
        g.write(name)


# --- by libraries -------------------------------------------------------------------------------------------------------


def libraries():
    import lightgbm
    import xgboost
    from catboost import CatBoostClassifier
    from onnxmltools import convert_lightgbm, convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType
    from skl2onnx import to_onnx
    from skl2onnx.common import tree_ensemble
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
    from sklearn.ensemble import (
        ExtraTreesRegressor,
        GradientBoostingClassifier,
        GradientBoostingRegressor,
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
    )
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    iris, wine, cancer, diabetes = load_iris(), load_wine(), load_breast_cancer(), load_diabetes()
    species = iris.target_names[iris.target].astype(str)
    species_of_two = cancer.target_names[cancer.target].astype(str)
    single = lambda data: data.astype(np.float32)

    def scikit(name, model, x, y, zipmap=False, dtype=np.float32):
        x = x.astype(dtype)
        model.fit(x, y)
        options = {} if zipmap or not hasattr(model, "classes_") else {id(model): {"zipmap": False}}
        made = to_onnx(model, x[:1], target_opset={"": 17, "ai.onnx.ml": 3}, options=options)
        for output in made.graph.output:  # trees give floats, also of doubles, though the exporter says otherwise
            if output.type.tensor_type.elem_type == DOUBLE:
                output.type.tensor_type.elem_type = FLOAT
        write(name, made, {"X": x[::5]})

    scikit("forest", RandomForestClassifier(12, max_depth=5, random_state=1), iris.data, species)
    scikit("forest_of_two", RandomForestClassifier(12, max_depth=5, random_state=1), cancer.data, cancer.target, zipmap=True)
    scikit("boosting", GradientBoostingRegressor(n_estimators=30, random_state=1), diabetes.data, diabetes.target)
    scikit("boosting_classes", GradientBoostingClassifier(n_estimators=8, random_state=1), wine.data, wine.target)
    scikit("extra", ExtraTreesRegressor(6, max_depth=6, random_state=1), diabetes.data, diabetes.target)
    two = np.column_stack([diabetes.target, diabetes.target**0.5])
    scikit("two_targets", DecisionTreeRegressor(max_depth=5, random_state=1), diabetes.data, two)
    scikit("in_doubles", GradientBoostingClassifier(n_estimators=5, random_state=1), cancer.data, species_of_two, dtype=np.float64)
    digits = load_digits()
    scikit("pixels", DecisionTreeClassifier(max_depth=6, random_state=1), digits.data[::4], digits.target[::4], dtype=np.int64)
    gaps = cancer.data.copy()
    gaps[np.random.default_rng(8).random(gaps.shape) < 0.1] = np.nan
    # skl2onnx 1.20 writes truth values where onnx 1.23 takes only integers.
    node = tree_ensemble.add_node
    whole = lambda *given, nodes_missing_value_tracks_true=0, **named: node(
        *given, nodes_missing_value_tracks_true=int(nodes_missing_value_tracks_true), **named
    )
    tree_ensemble.add_node = whole
    histogram = {"max_iter": 12, "random_state": 1}
    scikit("histogram", HistGradientBoostingClassifier(**histogram), gaps, cancer.target)
    scikit("histogram_classes", HistGradientBoostingClassifier(**histogram, max_leaf_nodes=7), wine.data, wine.target)
    scikit("histogram_value", HistGradientBoostingRegressor(**histogram), diabetes.data, diabetes.target)

    def converted(name, convert, model, x):
        x = single(x)
        kind = [("x", FloatTensorType([None, x.shape[1]]))]
        write(name, convert(model, initial_types=kind, target_opset=15), {"x": x[::5]})

    small = {"n_estimators": 20, "max_depth": 5, "random_state": 1}
    converted("xgboost", convert_xgboost, xgboost.XGBClassifier(**small).fit(single(gaps), cancer.target), gaps)
    converted("xgboost_value", convert_xgboost, xgboost.XGBRegressor(**small).fit(single(diabetes.data), diabetes.target), diabetes.data)
    few = small | {"n_estimators": 8}
    converted("xgboost_classes", convert_xgboost, xgboost.XGBClassifier(**few).fit(single(wine.data), wine.target), wine.data)
    quiet = {"n_estimators": 20, "random_state": 1, "verbose": -1}
    converted("lightgbm", convert_lightgbm, lightgbm.LGBMClassifier(**quiet).fit(single(gaps), cancer.target), gaps)
    converted("lightgbm_value", convert_lightgbm, lightgbm.LGBMRegressor(**quiet).fit(single(diabetes.data), diabetes.target), diabetes.data)
    # Categories become chains of ==.
    random = np.random.default_rng(9)
    x = np.column_stack([random.integers(0, 12, 600), random.normal(size=600)]).astype(np.float32)
    y = np.isin(x[:, 0], [1, 4, 7, 8]) * 3.0 + x[:, 1]
    model = lightgbm.LGBMRegressor(n_estimators=6, num_leaves=12, verbose=-1, random_state=1).fit(x, y, categorical_feature=[0])
    converted("lightgbm_categories", convert_lightgbm, model, x[:150])

    cat = CatBoostClassifier(iterations=10, depth=4, verbose=False, random_seed=1, allow_writing_files=False)
    cat.fit(single(cancer.data), cancer.target)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.onnx"
        cat.save_model(path, format="onnx")
        write("catboost", onnx.load(path), {"features": single(cancer.data)[::5]})


if __name__ == "__main__":
    regressors()
    classifiers()
    version_five()
    other_numbers()
    libraries()
    files = [f for f in HERE.iterdir() if f.name.startswith("tree_")]
    print(f"{sum(f.stat().st_size for f in files)} bytes, the largest {max(f.stat().st_size for f in files)}")
