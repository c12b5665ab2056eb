"""Rows per second of one thread, ours and ONNX Runtime's, over model files: a table in Markdown.

    cargo build --release && python3 benches/models.py target/release/vatic tests/models/*.onnx

Needs onnxruntime and numpy. Ours is what `vatic inspect` measures (Arrow arrays in and out); ONNX Runtime gets one thread, all outputs,
and NumPy arrays. Both score uneven made-up numbers, one after the other for each model, the best of many short turns each.
"""

import json
import pathlib
import subprocess
import sys
import time

import numpy
import onnxruntime

BATCHES = [1, 64, 1024, 8192]


def made_up(kind, shape):
    uneven = (numpy.arange(int(numpy.prod(shape)), dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)) >> numpy.uint64(40)
    uneven = (uneven % 2000).astype(numpy.int64).reshape(shape)
    if kind in ("tensor(float)", "tensor(double)"):
        return (uneven / 500 - 2).astype(numpy.float32 if kind == "tensor(float)" else numpy.float64)
    if kind == "tensor(string)":
        return numpy.full(shape, "", dtype=object)
    return (uneven % 2).astype({"tensor(int64)": numpy.int64, "tensor(int32)": numpy.int32, "tensor(bool)": bool}[kind])


def theirs(path, batch):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    shape = lambda i: [batch] + [d if isinstance(d, int) and d > 0 else 1 for d in i.shape[1:]]
    feeds = {i.name: made_up(i.type, shape(i)) for i in session.get_inputs()}
    names = [o.name for o in session.get_outputs()]
    session.run(names, feeds)
    began = time.perf_counter()
    session.run(names, feeds)
    calls = max(1, int(0.01 / max(time.perf_counter() - began, 1e-6)))
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(calls):
            session.run(names, feeds)
        best = min(best, (time.perf_counter() - began) / calls)
    return batch / best


def ours(vatic, path):
    sizes = ",".join(map(str, BATCHES))
    done = subprocess.run([vatic, "inspect", "--json", "--batch", sizes, path], capture_output=True, text=True)
    return json.loads(done.stdout)


def short(speed):
    return f"{speed / 1e6:.1f}M" if speed >= 1e6 else f"{speed / 1e3:.0f}k" if speed >= 1e4 else f"{speed / 1e3:.1f}k"


def main():
    vatic, paths = sys.argv[1], sys.argv[2:]
    print("| model | " + " | ".join(f"batch {b}" for b in BATCHES) + " | kernels |")
    print("|---" * (len(BATCHES) + 2) + "|")
    for path in paths:
        found = ours(vatic, path)
        name = pathlib.Path(path).stem if pathlib.Path(path).stem != "model" else pathlib.Path(path).parent.name
        if not found["usable"]:
            print(f"| {name} | " + " | ".join("" for _ in BATCHES) + f" | {found['error']} |")
            continue
        cells = []
        for batch in BATCHES:
            mine = found["rows_per_s"].get(str(batch))
            try:
                other = theirs(path, batch)
            except Exception:  # noqa: BLE001  a fixed batch, or an input that cannot be made up
                other = None
            if mine is None:
                cells.append("-")
            elif other is None:
                cells.append(short(mine))
            else:
                cells.append(f"{short(mine)} / {short(other)} = {mine / other:.1f}x")
        print(f"| {name} | " + " | ".join(cells) + f" | {'; '.join(found['kernels'])} |", flush=True)


main()
