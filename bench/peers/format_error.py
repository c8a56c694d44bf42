"""The error of our storage formats beside llama.cpp's of the same size, on layers of the 7B decoder's shapes whose
weights and activations have outlier channels: rms(y - exact) / rms(exact).

    format_error.py --format-error BUILD/bench/format_error        needs numpy and llama-cpp-python
"""

import argparse
import ctypes
import json
import pathlib
import subprocess
import tempfile

import llama_cpp
import numpy as np

GGML = {"f16": 1, "bf16": 30, "q8": 8, "q4": 2, "q4_1": 3}  # ggml_type
SHAPES = {"attention": (4096, 4096), "gate": (11008, 4096), "down": (4096, 11008)}
ROWS = 16


class TypeTraits(ctypes.Structure):  # ggml_type_traits_cpu
    _fields_ = [("from_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
                ("vec_dot", ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p,
                                             ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)),
                ("vec_dot_type", ctypes.c_int), ("nrows", ctypes.c_int64)]


def library(name):
    return ctypes.CDLL(str(next((pathlib.Path(llama_cpp.__file__).parent / "lib").glob(f"lib{name}.so*"))))


base, cpu = library("ggml-base"), library("ggml-cpu")
base.ggml_row_size.restype = base.ggml_quantize_chunk.restype = ctypes.c_size_t
base.ggml_row_size.argtypes = [ctypes.c_int, ctypes.c_int64]
base.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
cpu.ggml_get_type_traits_cpu.restype = ctypes.POINTER(TypeTraits)
cpu.ggml_cpu_init()


def pointer(a):
    return a.ctypes.data


def ggml_product(kind, w, x):
    """x w^T as llama.cpp's CPU code computes it: both sides rounded, one dot product at a time."""
    traits = cpu.ggml_get_type_traits_cpu(kind).contents
    other = traits.vec_dot_type
    k = w.shape[1]
    w_step, x_step = base.ggml_row_size(kind, k), base.ggml_row_size(other, k)
    packed_w, packed_x = np.empty((len(w), w_step), np.uint8), np.empty((len(x), x_step), np.uint8)
    base.ggml_quantize_chunk(kind, pointer(w), pointer(packed_w), 0, len(w), k, None)
    from_float = cpu.ggml_get_type_traits_cpu(other).contents.from_float
    y = np.empty((len(x), len(w)), np.float32)
    for i, row in enumerate(x):
        from_float(pointer(row), pointer(packed_x) + i * x_step, k)
        for j in range(len(w)):
            traits.vec_dot(k, pointer(y) + 4 * (i * len(w) + j), 0, pointer(packed_w) + j * w_step, 0,
                           pointer(packed_x) + i * x_step, 0, 1)
    return y


def layer(name):
    """Heavy-tailed weights; a few channels of the activations a hundred times the others, as in trained decoders."""
    n, k = SHAPES[name]
    rng = np.random.default_rng(n + k)
    w = (rng.standard_t(5, (n, k)) / np.sqrt(k)).astype(np.float32)
    x = rng.standard_normal((ROWS, k)).astype(np.float32)
    outliers = rng.choice(k, 6, replace=False)
    x[:, outliers] *= 100
    w[:, outliers] *= 0.1
    return w, x


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--format-error", type=pathlib.Path, required=True, help="the program of bench/format_error.cpp")
    args = p.parse_args()
    print(f"{'layer':10} {'format':6} {'ours':>9} {'llama.cpp':>9}")
    for name in SHAPES:
        w, x = layer(name)
        with tempfile.TemporaryDirectory() as folder:
            files = [pathlib.Path(folder) / f for f in ("w.npy", "x.npy")]
            np.save(files[0], w)
            np.save(files[1], x)
            ours = json.loads(subprocess.check_output([args.format_error.resolve(), *files]))
        exact = x.astype(np.float64) @ w.astype(np.float64).T
        for kind in ours:
            theirs = ""
            if kind in GGML:
                y = ggml_product(GGML[kind], w, x)
                theirs = f"{np.sqrt(np.mean((y - exact) ** 2) / np.mean(exact ** 2)):9.5f}"
            print(f"{name:10} {kind:6} {ours[kind]:9.5f} {theirs}", flush=True)


main()
