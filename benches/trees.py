"""100 trees of depth 6 by XGBoost: rows per second of ONNX Runtime, one thread, and of vatic on the same file.

    pip install -r tests/models/requirements.txt && python benches/trees.py [MODEL.onnx ...]
"""

import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime
import xgboost
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

BATCHES = [1, 16, 64, 1024, 8192]


def make(path):
    random = np.random.default_rng(1)
    x = random.uniform(size=(20_000, 20)).astype(np.float32)
    y = np.sin(6 * x[:, 0]) + x[:, 1] * x[:, 2] + x[:, 3:].sum(axis=1) + random.normal(0, 0.1, len(x))
    model = xgboost.XGBRegressor(n_estimators=100, max_depth=6).fit(x, y)
    path.write_bytes(convert_xgboost(model, initial_types=[("x", FloatTensorType([None, 20]))]).SerializeToString())


def best(session, rows):
    feeds = {i.name: np.random.default_rng(2).uniform(size=(rows, i.shape[1])).astype(np.float32) for i in session.get_inputs()}
    begun, fastest, repeat = time.perf_counter(), 1e9, max(512 // rows, 1)
    while time.perf_counter() - begun < 1.0:
        start = time.perf_counter()
        for _ in range(repeat):
            session.run(None, feeds)
        fastest = min(fastest, (time.perf_counter() - start) / (repeat * rows))
    return 1 / fastest


def main():
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(p).absolute() for p in sys.argv[1:]] or [pathlib.Path(folder) / "trees_100x6.onnx"]
        if not sys.argv[1:]:
            make(paths[0])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        for path in paths:
            session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
            figures = "".join(f"{best(session, rows):12.0f}" for rows in BATCHES)
            print(f"{'ONNX Runtime ' + path.name:44}{figures}", flush=True)
        root = pathlib.Path(__file__).parent.parent
        subprocess.run(["cargo", "bench", "--workspace", "--bench", "trees", "--", *map(str, paths)], cwd=root, check=True)


if __name__ == "__main__":
    main()
