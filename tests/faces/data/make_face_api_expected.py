"""Writes face_api_expected.json: what face-api's landmark net gives for a made-up picture, computed with numpy from the
manifest and the shard alone, in double: the truth for tests/faces/landmarker_test.cpp.

    make_face_api_expected.py examples/facellava/nets        needs numpy
"""

import json
import pathlib
import sys

import numpy as np

nets = pathlib.Path(sys.argv[1])
manifest = json.loads((nets / "face_landmark_68_model-weights_manifest.json").read_text())[0]
shard = (nets / manifest["paths"][0]).read_bytes()
weights, at = {}, 0
for w in manifest["weights"]:
    n, q = int(np.prod(w["shape"])), w["quantization"]
    codes = np.frombuffer(shard, np.uint8, n, at).astype(float)
    weights[w["name"]] = (codes * q["scale"] + q["min"]).reshape(w["shape"])
    at += n


def windows(x, stride):
    """[h', w', 9, c]: the 3 × 3 taps with TensorFlow's "same" padding."""
    n = x.shape[0]
    out = -(-n // stride)
    extra = max(0, (out - 1) * stride + 3 - n)
    p = np.pad(x, ((extra // 2, extra - extra // 2),) * 2 + ((0, 0),))
    taps = [p[a : a + (out - 1) * stride + 1 : stride, b : b + (out - 1) * stride + 1 : stride] for a in range(3) for b in range(3)]
    return np.stack(taps, 2)


def conv(x, name, stride):
    f = weights[name + "/filters"]
    return np.einsum("hwtc,tco->hwo", windows(x, stride), f.reshape(9, *f.shape[2:])) + weights[name + "/bias"]


def separable(x, name, stride):
    d = weights[name + "/depthwise_filter"][..., 0].reshape(9, -1)
    y = np.einsum("hwtc,tc->hwc", windows(x, stride), d)
    return y @ weights[name + "/pointwise_filter"][0, 0] + weights[name + "/bias"]


def relu(x):
    return np.maximum(x, 0)


i = np.arange(112)
picture = np.stack([(i[:, None] * 7 + i[None, :] * 3 + 40 * c) % 256 for c in range(3)], 2).astype(float)
x = (picture - [122.782, 117.001, 104.298]) / 255
for b in range(4):
    name = f"dense{b}/conv"
    first = relu(conv(x, name + "0", 2) if b == 0 else separable(x, name + "0", 2))
    second = separable(first, name + "1", 1)
    third = separable(relu(first + second), name + "2", 1)
    fourth = separable(relu(first + second + third), name + "3", 1)
    x = relu(first + second + third + fourth)
y = x.mean((0, 1)) @ weights["fc/weights"] + weights["fc/bias"]
(pathlib.Path(__file__).parent / "face_api_expected.json").write_text(json.dumps([round(float(v), 7) for v in y]) + "\n")
