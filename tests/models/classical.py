"""Models of every operator of ai.onnx.ml but trees, and of what scikit-learn's pipelines are exported to.

    pip install -r requirements.txt && python classical.py

Written as `train.py` writes its own: `classical_*.onnx` are made by hand, one output per operator and combination of
attributes; `sklearn_*.onnx` are exported.
"""

import itertools
import json
import warnings

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor, StackingClassifier, VotingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge, SGDClassifier, SGDOneClassSVM
from sklearn.mixture import GaussianMixture
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, PolynomialFeatures, PowerTransformer
from sklearn.preprocessing import QuantileTransformer, RobustScaler, StandardScaler, TargetEncoder
from sklearn.svm import SVC, SVR, LinearSVC, OneClassSVM

from train import HERE, build, plain, write

warnings.filterwarnings("ignore")
RANDOM = np.random.default_rng(17)
TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64, "int32": TensorProto.INT32}
TYPES |= {"object": TensorProto.STRING, "bool": TensorProto.BOOL, "int16": TensorProto.INT16, "int8": TensorProto.INT8}
TYPES |= {"uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "uint32": TensorProto.UINT32, "uint64": TensorProto.UINT64}
POSTS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]


class Sheet:
    """Nodes that share inputs; every output of every node is an output of the model."""

    def __init__(self, name, feeds, ml=1, opset=17, constants=()):
        self.name, self.feeds, self.constants = name, feeds, list(constants)
        self.opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ml), helper.make_opsetid("com.microsoft", 1)]
        self.nodes, self.outputs = [], []

    def add(self, operator, inputs, *outputs, domain="ai.onnx.ml", **attributes):
        """`outputs` are (type, columns); columns is a list behind the rows."""
        names = [f"{operator}_{len(self.nodes)}" + ("_b" if i else "") for i in range(len(outputs))]
        self.nodes.append(helper.make_node(operator, inputs, names, domain=domain, **attributes))
        self.outputs += [(name, kind, ["N", *columns]) for name, (kind, columns) in zip(names, outputs)]

    def write(self):
        inputs = [(n, TYPES[str(a.dtype)], ["N", *a.shape[1:]]) for n, a in self.feeds.items()]
        write(self.name, build(self.nodes, inputs, self.outputs, self.constants, self.opsets), self.feeds)


F, D, I, S = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING


def numbers(rows=24, columns=4):
    """The same awkward rows as each type of number."""
    x = RANDOM.normal(0, 2, (rows, columns)).astype(np.float32)
    x[0], x[1], x[2] = 0, [1, 0, 0, -1][:columns], [-1, -2, -3, -4][:columns]
    x[3] = [100, -100, 50, 80][:columns]
    whole = RANDOM.integers(-5, 6, (rows, columns))
    whole[0] = 0
    return {"x": x, "d": x.astype(np.float64) + 1e-9, "i": whole, "j": whole.astype(np.int32)}


def some(*size):
    return [float(v) for v in np.round(RANDOM.normal(0, 0.6, int(np.prod(size))), 3)]


def linear():
    given = numbers()
    given["x"][4, 2] = np.nan
    sheet = Sheet("classical_linear", given)
    three, one = {"coefficients": some(12), "intercepts": [0.1, 0.0, -0.2]}, {"coefficients": some(4), "intercepts": [0.3]}
    for post in POSTS:
        sheet.add("LinearRegressor", ["x"], (F, [3]), targets=3, post_transform=post, **three)
        sheet.add("LinearRegressor", ["x"], (F, [1]), post_transform=post, **one)
        sheet.add("LinearClassifier", ["x"], (I, []), (F, [3]), classlabels_ints=[7, 5, 3], post_transform=post, **three)
        if post != "PROBIT":
            sheet.add("LinearClassifier", ["x"], (S, []), (F, [2]), classlabels_strings=["no", "yes"], post_transform=post, **one)
    sheet.add("LinearRegressor", ["x"], (F, [1]), coefficients=one["coefficients"])
    sheet.add("LinearRegressor", ["x"], (F, [3]), coefficients=three["coefficients"], intercepts=[5.0], targets=3)
    wide = {"coefficients": some(40), "intercepts": some(10)}
    sheet.add("LinearRegressor", ["x"], (F, [10]), targets=10, **wide)
    for kind in "dij":
        sheet.add("LinearClassifier", [kind], (I, []), (F, [10]), classlabels_ints=list(range(10)), multi_class=1, post_transform="SOFTMAX", **wide)
    sheet.write()


def svm():
    given = numbers()
    given["x"][4, 2] = np.nan
    vectors = some(9, 4)
    kernels = [("LINEAR", [1.0, 0.0, 3.0]), ("POLY", [0.5, 1.0, 2.0]), ("POLY", [0.3, 0.5, 3.0]), ("POLY", [0.2, 3.0, 4.0]), ("RBF", [0.4, 0.0, 3.0]), ("SIGMOID", [0.2, 0.1, 3.0])]
    sheet = Sheet("classical_svm_regressors", given)
    for (kernel, params), one_class in itertools.product(kernels, [0, 1]):
        extra = {"kernel_params": params}
        sheet.add("SVMRegressor", ["x"], (F, [1]), kernel_type=kernel, n_supports=9, support_vectors=vectors, coefficients=some(9), rho=[0.1], one_class=one_class, **extra)
    sheet.add("SVMRegressor", ["x"], (F, [1]), kernel_type="LINEAR", coefficients=some(4), rho=[0.25], kernel_params=[1.0, 0.0, 3.0], post_transform="LOGISTIC")
    sheet.write()

    sheet = Sheet("classical_svm_classifiers", given)
    two = {"classlabels_ints": [3, 9], "vectors_per_class": [5, 4], "coefficients": some(9), "rho": [0.1]}
    three = {"classlabels_strings": ["a", "b", "c"], "vectors_per_class": [2, 4, 3], "coefficients": some(18), "rho": some(3)}
    for kernel, params in kernels:
        extra = {"kernel_type": kernel, "support_vectors": vectors} | {"kernel_params": params}
        sheet.add("SVMClassifier", ["x"], (I, []), (F, [2]), **two, **extra)
        sheet.add("SVMClassifier", ["x"], (S, []), (F, [3]), **three, **extra)
        sheet.add("SVMClassifier", ["x"], (I, []), (F, [2]), prob_a=[-1.3], prob_b=[0.1], **two, **extra)
        sheet.add("SVMClassifier", ["x"], (S, []), (F, [3]), prob_a=[-1.0, -2.0, -0.5], prob_b=[0.1, 0.0, -0.1], **three, **extra)
    rbf = {"kernel_type": "RBF", "kernel_params": [0.4, 0.0, 3.0], "support_vectors": vectors}
    for post in POSTS:
        if post != "PROBIT":
            sheet.add("SVMClassifier", ["x"], (I, []), (F, [2]), post_transform=post, **two, **rbf)
        sheet.add("SVMClassifier", ["x"], (S, []), (F, [3]), post_transform=post, **three, **rbf)
        sheet.add("SVMClassifier", ["x"], (I, []), (F, [2]), post_transform=post, prob_a=[-1.3], prob_b=[0.1], **two, **rbf)
        sheet.add("SVMClassifier", ["x"], (S, []), (F, [3]), post_transform=post, classlabels_strings=["a", "b", "c"], coefficients=some(12), rho=[0.2], kernel_params=[1.0, 0.0, 3.0])
        sheet.add("SVMClassifier", ["x"], (I, []), (F, [2]), post_transform=post, classlabels_ints=[1, 2], coefficients=some(8), rho=[0.2], kernel_params=[1.0, 0.0, 3.0])
    sheet.add("SVMClassifier", ["x"], (I, []), (F, [2]), classlabels_ints=[1, 2], coefficients=[abs(v) for v in some(8)], rho=[0.2], kernel_params=[1.0, 0.0, 3.0])
    for kind in "dij":
        sheet.add("SVMClassifier", [kind], (I, []), (F, [2]), **two, **rbf)
    sheet.write()


def scale():
    given = numbers()
    gaps = given["x"].copy()
    gaps[::3, 1], gaps[5] = np.nan, np.nan
    given["gaps"] = gaps
    sheet = Sheet("classical_scale", given)
    for kind in "xdij":
        sheet.add("Scaler", [kind], (F, [4]), offset=[1.0, -2.0, 0.5, 3.0], scale=[0.5, 2.0, -1.0, 10.0])
        sheet.add("Scaler", [kind], (F, [4]), offset=[0.3], scale=[0.7])
        for norm in ["MAX", "L1", "L2"]:
            sheet.add("Normalizer", [kind], (F, [4]), norm=norm)
    for values in ([1.0, 2.0, 3.0, 4.0], [7.0], [7.0, 8.0]):  # of two for four columns, the first is for all
        sheet.add("Imputer", ["gaps"], (F, [4]), imputed_value_floats=values, replaced_value_float=float("nan"))
        sheet.add("Imputer", ["x"], (F, [4]), imputed_value_floats=values, replaced_value_float=0.0)
        sheet.add("Imputer", ["i"], (I, [4]), imputed_value_int64s=[int(v) for v in values], replaced_value_int64=0)
    sheet.add("Binarizer", ["x"], (F, [4]), threshold=0.5)
    sheet.add("Binarizer", ["x"], (F, [4]))
    sheet.write()


def encode():
    words = RANDOM.choice(["red", "green", "blue", "violet", ""], (24, 2)).astype(object)
    whole = RANDOM.integers(-1, 5, (24, 2))
    real = RANDOM.choice(np.array([0.0, -0.0, 1.5, 2.5, np.nan, np.inf], np.float32), (24, 2))
    given = {"s": words, "i": whole, "f": real}
    sheet = Sheet("classical_labels_1", {"s": words, "i": whole})
    sheet.add("LabelEncoder", ["s"], (I, [2]), classes_strings=["red", "green", "blue"])
    sheet.add("LabelEncoder", ["s"], (I, [2]), classes_strings=["red", "green", "red"], default_int64=77)
    sheet.add("LabelEncoder", ["i"], (S, [2]), classes_strings=["zero", "one", "two"])
    sheet.add("LabelEncoder", ["i"], (S, [2]), classes_strings=["zero", "one"], default_string="many")
    for kind, out in (("s", I), ("i", S)):
        sheet.add("CategoryMapper", [kind], (out, [2]), cats_strings=["red", "green", "blue"], cats_int64s=[3, 0, 2])
        sheet.add("CategoryMapper", [kind], (out, [2]), cats_strings=["red", "green", "red"], cats_int64s=[3, 0, 3], default_string="?", default_int64=-9)
    sheet.write()

    keys = {"s": ("keys_strings", ["red", "blue", "red"]), "i": ("keys_int64s", [3, 0, 3]), "f": ("keys_floats", [1.5, 0.0, float("nan")])}
    values = {S: ("values_strings", ["a", "b", "c"]), I: ("values_int64s", [10, 20, 30]), F: ("values_floats", [0.5, float("nan"), 2.5])}
    defaults = {S: {"default_string": "none"}, I: {"default_int64": 5}, F: {"default_float": 9.5}}
    for version in (2, 4):
        sheet = Sheet(f"classical_labels_{version}", given, ml=version)
        for (kind, (key, ks)), (out, (value, vs)) in itertools.product(keys.items(), values.items()):
            sheet.add("LabelEncoder", [kind], (out, [2]), **{key: ks, value: vs})
            sheet.add("LabelEncoder", [kind], (out, [2]), **{key: ks, value: vs}, **defaults[out])
        sheet.write()

    tensor = lambda values, kind: numpy_helper.from_array(np.array(values, kind))
    given = {"s": words, "i": whole, "d": real.astype(np.float64)}
    sheet = Sheet("classical_labels_tensors", given, ml=4)
    of = {"s": tensor(["red", "blue"], object), "i": tensor([3, 0], np.int64), "d": tensor([1.5, np.nan], np.float64)}
    to = {S: (tensor(["a", "b"], object), tensor(["?"], object)), I: (tensor([7, 8], np.int64), tensor([-3], np.int64)), D: (tensor([0.25, 1e-9], np.float64), tensor([3.25], np.float64))}
    pairs = [("d", D), ("d", S), ("s", D), ("i", D), ("d", I), ("s", I), ("i", S), ("s", S), ("i", I)]
    for kind, out in pairs:
        sheet.add("LabelEncoder", [kind], (out, [2]), keys_tensor=of[kind], values_tensor=to[out][0], default_tensor=to[out][1])
    sheet.add("LabelEncoder", ["s"], (TensorProto.INT16, [2]), keys_tensor=of["s"], values_tensor=tensor([1, 2], np.int16), default_tensor=tensor([0], np.int16))
    sheet.write()

    cats = np.array([1.0, 2.9, -1.0, 3.0, np.nan, 0.0], np.float32)
    given = {"s": words, "i": whole, "f": RANDOM.choice(cats, (24, 2))}
    given["d"] = given["f"].astype(np.float64)
    sheet = Sheet("classical_one_hot", given)
    for kind in "ifd":
        sheet.add("OneHotEncoder", [kind], (F, [2, 3]), cats_int64s=[3, 1, 2])
    sheet.add("OneHotEncoder", ["s"], (F, [2, 4]), cats_strings=["red", "green", "blue", "red"])
    sheet.add("OneHotEncoder", ["i"], (F, [2, 6]), cats_int64s=[-1, 0, 1, 2, 3, 4], zeros=0)
    sheet.write()


def arrange():
    given = numbers()
    given["s"] = RANDOM.choice(["red", "green"], (24, 3)).astype(object)
    given["one"] = given["x"][:, :1].copy()
    constants = [("list", np.array([2, 0])), ("square", np.array([[1, 3], [0, 2]])), ("single", np.array(1)), ("names", np.array(["a", "b", "c", "d"], object)), ("codes", np.array([10, 20, 30, 40]))]
    sheet = Sheet("classical_arrange", given, constants=constants)
    sheet.add("FeatureVectorizer", ["x", "one"], (F, [5]), inputdimensions=[4, 1])
    sheet.add("FeatureVectorizer", ["one", "x"], (F, [5]), inputdimensions=[3, 2])  # filled up, and cut
    for kind in "dij":
        sheet.add("FeatureVectorizer", [kind], (F, [4]), inputdimensions=[4])
    for kind, of in (("x", F), ("d", D), ("i", I), ("j", TensorProto.INT32), ("s", S)):
        sheet.add("ArrayFeatureExtractor", [kind, "list"], (of, [2]))
    sheet.add("ArrayFeatureExtractor", ["x", "square"], (F, [4]))
    sheet.add("ArrayFeatureExtractor", ["x", "single"], (F, [1]))
    # A list of names, and one number per row.
    sheet.nodes += [
        helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0),
        helper.make_node("ArrayFeatureExtractor", ["names", "best"], ["chosen"], domain="ai.onnx.ml"),
        helper.make_node("Reshape", ["chosen", "flat"], ["name"]),
        helper.make_node("ArrayFeatureExtractor", ["codes", "best"], ["picked"], domain="ai.onnx.ml"),
        helper.make_node("Cast", ["picked"], ["picked_again"], to=I),
        helper.make_node("Reshape", ["picked_again", "flat"], ["code"]),
    ]
    sheet.constants.append(("flat", np.array([-1])))
    sheet.outputs += [("name", S, ["N"]), ("code", I, ["N"])]
    sheet.write()

    for name, labels in (("words", {"classlabels_strings": ["b", "a", "d", "c"]}), ("numbers", {"classlabels_int64s": [4, -1, 2, 3]})):
        key = TensorProto.STRING if name == "words" else TensorProto.INT64
        node = helper.make_node("ZipMap", ["x"], ["map"], domain="ai.onnx.ml", **labels)
        out = helper.make_value_info("map", helper.make_sequence_type_proto(helper.make_map_type_proto(key, helper.make_tensor_type_proto(F, []))))
        graph = helper.make_graph([node], "graph", [helper.make_tensor_value_info("x", F, ["N", 4])], [out])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)], ir_version=8, producer_name="vatic")
        write(f"classical_zip_{name}", model, {"x": given["x"]})


def widths():
    """Every type of number in and out, one input per column."""
    rows = 16
    feeds = {kind: RANDOM.integers(0, 100, (rows, 1)).astype(kind) for kind in TYPES if "int" in kind}
    feeds |= {"float32": RANDOM.normal(size=(rows, 1)).astype(np.float32), "float64": RANDOM.normal(size=(rows, 1)), "bool": RANDOM.uniform(size=(rows, 1)) < 0.5}
    nodes, outputs = [], []
    for kind, array in feeds.items():
        nodes.append(helper.make_node("Cast", [kind], [f"{kind}_f"], to=F))
        nodes.append(helper.make_node("Identity", [kind], [f"{kind}_again"]))
        outputs.append((f"{kind}_again", TYPES[kind], ["N", 1]))
    nodes.append(helper.make_node("Concat", [f"{kind}_f" for kind in feeds], ["all"], axis=1))
    nodes.append(helper.make_node("LinearRegressor", ["all"], ["line"], domain="ai.onnx.ml", coefficients=some(len(feeds)), intercepts=[1.0]))
    outputs.append(("line", F, ["N", 1]))
    inputs = [(kind, TYPES[kind], ["N", 1]) for kind in feeds]
    write("classical_types", build(nodes, inputs, outputs), feeds)


def beside():
    """Operators beside those of ai.onnx.ml that pipelines need."""
    given = numbers()
    constants = [("one", np.array(1)), ("points", np.array(some(5, 4), np.float32).reshape(5, 4)), ("points_d", np.array(some(5, 4)).reshape(5, 4))]
    sheet = Sheet("classical_beside", given, constants=constants)
    for more in ({}, {"exclusive": 1}, {"reverse": 1}):
        sheet.add("CumSum", ["x", "one"], (F, [4]), domain="", **more)
    sheet.add("CumSum", ["i", "one"], (I, [4]), domain="")
    for p in (1, 2):
        sheet.add("LpNormalization", ["near"], (F, [4]), domain="", axis=1, p=p)
    sheet.nodes.insert(0, helper.make_node("Add", ["x", "some"], ["near"]))  # a row of zeros is undefined
    sheet.constants.append(("some", np.float32(0.01)))
    for metric in ("euclidean", "sqeuclidean"):
        sheet.add("CDist", ["d", "points_d"], (D, [5]), domain="com.microsoft", metric=metric)
        sheet.add("CDist", ["x", "points"], (F, [5]), domain="com.microsoft", metric=metric)
    sheet.write()


def maps():
    """Operators whose input is a map: ONNX Runtime takes one map at a time, here a key is a column."""
    rows, words = 12, ["age", "city=Paris", "weight"]
    dictionaries = [{w: float(np.round(RANDOM.normal(), 3)) for w in words if RANDOM.uniform() < 0.7} for _ in range(rows)]
    sparse = [{k: float(np.round(RANDOM.normal(0, 5), 3)) for k in range(3) if RANDOM.uniform() < 0.7} for _ in range(rows)]
    cases = {"dict": (TensorProto.STRING, words, dictionaries, [("DictVectorizer", F, {"string_vocabulary": words})])}
    whole = [("DictVectorizer", F, {"int64_vocabulary": [0, 1, 2]})]
    whole += [("CastMap", to, {"map_form": "SPARSE", "max_map": 3, "cast_to": name}) for to, name in ((F, "TO_FLOAT"), (I, "TO_INT64"))]
    cases["sparse"] = (I, [0, 1, 2], sparse, whole)
    for name, (key, columns, given, calls) in cases.items():
        nodes = [helper.make_node(op, ["map"], [f"{op}_{i}"], domain="ai.onnx.ml", **more) for i, (op, _, more) in enumerate(calls)]
        info = helper.make_value_info("map", helper.make_map_type_proto(key, helper.make_tensor_type_proto(F, [])))
        outputs = [helper.make_tensor_value_info(n.output[0], kind, [1, 3]) for n, (_, kind, _) in zip(nodes, calls)]
        graph = helper.make_graph(nodes, "graph", [info], outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)], ir_version=8, producer_name="vatic")
        write(f"classical_map_{name}", model)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        results = [session.run(None, {"map": row}) for row in given]
        case = {"rows": rows, "inputs": [{"name": str(c), "values": [row.get(c) for row in given]} for c in columns]}
        case["outputs"] = [{"name": n.output[0], "values": plain(np.concatenate([r[i] for r in results]))} for i, n in enumerate(nodes)]
        (HERE / f"classical_map_{name}.json").write_text(json.dumps(case) + "\n")


def more():
    """Standard operators that `train.py` leaves out, one to a file's output."""
    x = RANDOM.normal(0, 2, (10, 6)).astype(np.float32)
    x[0, 0] = np.inf
    i, b, cube = RANDOM.integers(-5, 6, (10, 6)), RANDOM.uniform(size=(10, 6)) < 0.5, RANDOM.normal(size=(10, 4, 4)).astype(np.float32)
    image = RANDOM.normal(size=(3, 4, 6, 6)).astype(np.float32)
    unit = RANDOM.uniform(-2, 2, (10, 6)).astype(np.float32)
    four = lambda *size: np.array(some(*size), np.float32).reshape(size)
    constants = [("row", four(6)), ("three", np.array(3)), ("no", np.array([True, False] * 3)), ("square", four(4, 5)), ("at", np.array([[0], [2]])), ("where", RANDOM.integers(0, 6, (1, 2)))]
    constants += [("double", np.zeros(1)), ("k", four(4, 3, 3, 3)), ("scales", np.array([1, 1, 2, 2], np.float32)), ("none", np.array([], np.float32)), ("two", np.array([0.5, 2], np.float32))]
    calls = [("Celu", ["unit"], F, [6], {"alpha": 0.7}), ("Shrink", ["unit"], F, [6], {"lambd": 0.4, "bias": 0.1}), ("Hardmax", ["unit"], F, [6], {"axis": 1})]
    calls += [("Xor", ["b", "no"], TensorProto.BOOL, [6], {}), ("IsInf", ["x"], TensorProto.BOOL, [6], {}), ("Mod", ["i", "three"], I, [6], {}), ("Mod", ["unit", "row"], F, [6], {"fmod": 1})]
    calls += [("CastLike", ["unit", "double"], D, [6], {}), ("ReduceLogSum", ["positive"], F, [1], {"axes": [1]}), ("Einsum", ["cube", "square"], F, [4, 5], {"equation": "bij,jk->bik"})]
    calls += [("Trilu", ["cube"], F, [4, 4], {"upper": 0}), ("Mish", ["unit"], F, [6], {})]
    names = {"x": x, "i": i, "b": b, "cube": cube, "unit": unit}
    for index, (operator, inputs, kind, columns, attributes) in enumerate(calls):
        names["positive"] = np.abs(unit) + 0.1
        feeds = {n: names[n] for n in inputs if n in names}
        sheet = Sheet(f"standard_more_{operator.lower()}_{index}", feeds, opset=18 if operator == "Mish" else 17, constants=[c for c in constants if c[0] in inputs])
        sheet.add(operator, inputs, (kind, columns), domain="", **attributes)
        sheet.write()
    calls = [("ConvTranspose", ["image", "k"], [3, 13, 13], {"strides": [2, 2]}), ("ConvTranspose", ["image", "k"], [3, 12, 12], {"strides": [2, 2], "auto_pad": "SAME_UPPER"})]
    calls += [("DepthToSpace", ["image"], [1, 12, 12], {"blocksize": 2}), ("SpaceToDepth", ["image"], [16, 3, 3], {"blocksize": 2}), ("LRN", ["image"], [4, 6, 6], {"size": 3})]
    calls += [("Resize", ["image", "none", "scales"], [4, 12, 12], {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"})]
    calls += [("Resize", ["image", "none", "scales"], [4, 12, 12], {"mode": "linear", "coordinate_transformation_mode": "half_pixel"})]
    for index, (operator, inputs, columns, attributes) in enumerate(calls):
        sheet = Sheet(f"standard_image_{operator.lower()}_{index}", {"image": image}, constants=[c for c in constants if c[0] in inputs])
        sheet.add(operator, inputs, (F, columns), domain="", **attributes)
        sheet.write()


# --- exported -----------------------------------------------------------------------------------------------------------


def export(name, model, rows, types=None, feeds=None, options=None, opset=17):
    if options is None and hasattr(model, "predict_proba") and not isinstance(model, GaussianMixture):
        options = {id(model): {"zipmap": False}}
    onnx_model = to_onnx(model, None if types else rows[:1], initial_types=types, target_opset=opset, options=options or None)
    feeds = feeds or {onnx_model.graph.input[0].name: rows}
    write(f"sklearn_{name}", onnx_model, feeds)


def exported():
    iris, diabetes = load_iris(), load_diabetes()
    x, y, names = iris.data.astype(np.float32), iris.target, iris.target_names[iris.target].astype(str)
    two, several = (y == 1).astype(int), np.column_stack([y == 1, iris.data[:, 0] > 5.8]).astype(int)
    r, target = diabetes.data.astype(np.float32), diabetes.target
    targets = np.column_stack([target, 3 * target])
    some_x, some_r = x[::5], r[::12]
    logistic = lambda: LogisticRegression(max_iter=300)

    for kernel in ("linear", "poly", "rbf", "sigmoid"):
        export(f"svc_{kernel}", SVC(kernel=kernel, C=0.3, probability=True, random_state=0).fit(x[::3], names[::3]), some_x)
        export(f"one_class_{kernel}", OneClassSVM(kernel=kernel, nu=0.2).fit(x[::3]), some_x)
    export("svc_votes", SVC().fit(x[::2], y[::2]), some_x)
    export("svc_two", SVC(kernel="linear").fit(x[::2], two[::2]), some_x)
    export("svr", SVR(C=50).fit(r[:60], target[:60]), some_r)
    export("linear_svc", LinearSVC().fit(x, y), some_x)
    export("linear_svc_two", LinearSVC().fit(x, two), some_x)
    export("sgd", SGDClassifier(loss="modified_huber", random_state=0).fit(x, y), some_x)
    export("sgd_one_class", SGDOneClassSVM(random_state=0).fit(x), some_x)
    export("poisson", PoissonRegressor().fit(r, target / 100), some_r)
    export("two_targets", LinearRegression().fit(r, targets), some_r)
    export("double", make_pipeline(StandardScaler(), logistic()).fit(x, y), some_x.astype(np.float64))
    export("whole", make_pipeline(StandardScaler(), logistic()).fit(x.astype(int), y), some_x.astype(np.int64))
    export("gaussian_nb", GaussianNB().fit(x, names), some_x)
    export("bernoulli_nb", BernoulliNB(binarize=3.0).fit(x, y), some_x)
    export("multinomial_nb", MultinomialNB().fit(x, y), some_x)
    export("qda", QuadraticDiscriminantAnalysis().fit(x, y), some_x)
    export("knn_distance", KNeighborsClassifier(3, weights="distance").fit(x[::3] + 0.013, y[::3]), some_x)
    export("knn_manhattan", KNeighborsClassifier(3, metric="manhattan").fit(x[::3] + 0.013, names[::3]), some_x)
    neighbours = KNeighborsRegressor(3).fit(r[:60], target[:60])
    export("knn_cdist", neighbours, some_r, options={id(neighbours): {"optim": "cdist"}})
    export("outliers", LocalOutlierFactor(n_neighbors=5, novelty=True).fit(x[::3]), some_x)
    export("mixture", GaussianMixture(3, random_state=0).fit(x), some_x)
    export("gaussian_process", GaussianProcessRegressor(ConstantKernel(1.0) * RBF(1.0), alpha=0.5, optimizer=None).fit(r[:30], target[:30] / 100), some_r.astype(np.float64))
    export("perceptron_several", MLPClassifier((5,), max_iter=200, random_state=0).fit(x, several), some_x)
    export("ada", AdaBoostClassifier(logistic(), n_estimators=3).fit(x, y), some_x)
    export("ada_regressor", AdaBoostRegressor(Ridge(), n_estimators=4, random_state=0).fit(r, target), some_r)
    export("voting", VotingRegressor([("a", Ridge()), ("b", LinearRegression())]).fit(r, target), some_r)
    export("stacking", StackingClassifier([("a", logistic()), ("b", GaussianNB())], final_estimator=logistic(), cv=3).fit(x, y), some_x)
    for method in ("sigmoid", "isotonic"):
        export(f"calibrated_{method}", CalibratedClassifierCV(LinearSVC(), method=method, cv=2).fit(x, two), some_x)
    export("one_vs_rest", OneVsRestClassifier(logistic()).fit(x, names), some_x)
    export("one_vs_rest_several", OneVsRestClassifier(logistic()).fit(x, several), some_x)
    export("one_vs_one", OneVsOneClassifier(logistic()).fit(x, y), some_x)
    many = MultiOutputClassifier(logistic()).fit(x, several)
    export("many_classifiers", many, some_x, options={id(many): {"zipmap": False}})
    export("many_regressors", MultiOutputRegressor(Ridge()).fit(r, targets), some_r)
    export("knn_several", KNeighborsClassifier(3).fit(x[::3] + 0.013, several[::3]), some_x)
    for name, step in {
        "robust": RobustScaler(),
        "bins": KBinsDiscretizer(4, encode="onehot-dense", quantile_method="linear"),
        "polynomial": PolynomialFeatures(2),
        "power": PowerTransformer(),
        "quantile": QuantileTransformer(n_quantiles=10),
    }.items():
        export(name, make_pipeline(step, logistic()).fit(x, y), some_x)
    export("scaled_clusters", make_pipeline(StandardScaler(), KMeans(4, n_init=2, random_state=0)).fit(x), some_x)

    import pandas  # scikit-learn's own way to name columns

    n = 150
    table = pandas.DataFrame({"size": RANDOM.normal(3, 1, n), "weight": RANDOM.normal(10, 4, n), "colour": RANDOM.choice(["red", "green", "blue"], n).astype(object), "shape": RANDOM.choice(["round", "flat"], n).astype(object), "level": RANDOM.integers(0, 4, n)})
    answer = (table["size"] + (table.colour == "red") + table.level > 5).astype(int)
    table.loc[::7, "weight"] = np.nan
    types = [(c, (StringTensorType if c in ("colour", "shape") else Int64TensorType if c == "level" else FloatTensorType)([None, 1])) for c in table]
    feeds = {c: table[c].to_numpy()[:30, None].astype({"size": np.float32, "weight": np.float32, "level": np.int64}.get(c, object)) for c in table}
    feeds["colour"][3], feeds["level"][4], feeds["weight"][5] = "violet", 9, np.nan  # never seen in training
    numeric, hot = make_pipeline(SimpleImputer(), StandardScaler()), lambda: OneHotEncoder(handle_unknown="ignore")
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = [("n", numeric, ["size", "weight"]), ("l", hot(), ["level"])]
    for name, encoder, last in (("hot", hot(), SVC(probability=True, random_state=0)), ("ordinal", ordinal, logistic())):
        pipeline = make_pipeline(ColumnTransformer([*columns, ("c", encoder, ["colour", "shape"])]), last).fit(table, answer)
        export(f"table_{name}", pipeline, None, types, feeds)
    words = [t for t in types if t[0] in ("colour", "shape")]
    pipeline = make_pipeline(ColumnTransformer([("c", TargetEncoder(random_state=0), ["colour", "shape"])]), logistic()).fit(table, answer)
    export("table_target", pipeline, None, words, {c: feeds[c] for c, _ in words})
    table.loc[::9, "colour"] = ""
    colour = table["colour"].to_numpy()[:30, None].astype(object)
    filled = make_pipeline(SimpleImputer(strategy="most_frequent", missing_values=""), OneHotEncoder(sparse_output=False))
    pipeline = make_pipeline(ColumnTransformer([("c", filled, ["colour"])]), logistic()).fit(table, answer)
    export("table_filled", pipeline, None, [("colour", StringTensorType([None, 1]))], {"colour": colour})


if __name__ == "__main__":
    for part in (linear, svm, scale, encode, arrange, widths, beside, maps, more, exported):
        RANDOM = np.random.default_rng(17)  # a part that changes leaves the others as they are
        part()
    made = [f for f in HERE.iterdir() if f.name.startswith(("classical_", "sklearn_", "standard_more", "standard_image_")) and f.suffix in (".onnx", ".json")]
    print(f"{len(made)} files, {sum(f.stat().st_size for f in made)} bytes")
