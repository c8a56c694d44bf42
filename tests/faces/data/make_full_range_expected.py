"""Writes full_range_expected.json: what LiteRT gets from the full-range face detector for a made-up picture, every 97th
number of each output: the truth for tests/faces/detector_full_range_test.cpp.

    make_full_range_expected.py examples/facellava/nets        needs ai-edge-litert and numpy
"""

import json
import pathlib
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

net = Interpreter(str(pathlib.Path(sys.argv[1]) / "face_detector_full_range.tflite"))
net.allocate_tensors()
i = np.arange(192)
picture = np.stack([(i[:, None] * 5 + i[None, :] * 11 + 60 * c) % 256 for c in range(3)], 2).astype(np.float32)
net.set_tensor(net.get_input_details()[0]["index"], (picture / 127.5 - 1)[None])
net.invoke()
outputs = [net.get_tensor(d["index"]).ravel()[::97].astype(float).round(6).tolist() for d in net.get_output_details()]
(pathlib.Path(__file__).parent / "full_range_expected.json").write_text(json.dumps(outputs) + "\n")
