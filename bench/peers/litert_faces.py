"""The face nets of MediaPipe in LiteRT (ai-edge-litert, with XNNPACK), one picture, milliseconds: what bench_faces is compared
with. Only the nets: no sampling of the picture, no suppression.

    litert_faces.py examples/facellava/nets [--threads N]        needs ai-edge-litert and numpy
"""

import argparse
import json
import pathlib
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("nets", type=pathlib.Path)
p.add_argument("--threads", type=int, default=1)
p.add_argument("--rounds", type=int, default=100)
args = p.parse_args()

milliseconds = {}
for name in ("face_detector", "face_detector_full_range", "face_landmarks_detector"):
    net = Interpreter(str(args.nets / f"{name}.tflite"), num_threads=args.threads)
    net.allocate_tensors()
    entry = net.get_input_details()[0]
    net.set_tensor(entry["index"], np.random.default_rng(0).random(entry["shape"], np.float32))
    best = 1e9
    for _ in range(args.rounds):
        start = time.perf_counter()
        net.invoke()
        best = min(best, time.perf_counter() - start)
    milliseconds[name] = 1000 * best
print(json.dumps({"threads": args.threads, "milliseconds": milliseconds}, indent=1))
