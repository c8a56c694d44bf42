"""Perplexity of a decoder in each storage format, ours beside llama.cpp's of the same size. llama.cpp rounds the file
with its own llama_model_quantize, all matrices alike, as --precision does.

    perplexity.py --tool BUILD/examples/facellava/facellava --model smollm2.gguf --text tests/assets/lincoln.txt
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import llama_cpp
import numpy as np

FILE_TYPES = {"stored": None, "bf16": 32, "q8": 7, "q4": 2, "q4_1": 3}  # llama_ftype
WINDOW = 512


def ours(args, *precision):
    command = [args.tool, "perplexity", "--model", args.model, "--text", args.text, "--json", *precision]
    return json.loads(subprocess.check_output(command))["perplexity"]


def rounded(args, kind, folder):
    if FILE_TYPES[kind] is None:
        return args.model
    file = folder / f"{kind}.gguf"
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.pure, params.nthread = FILE_TYPES[kind], True, True, 2
    if llama_cpp.llama_model_quantize(str(args.model).encode(), str(file).encode(), params) != 0:
        raise RuntimeError(f"llama.cpp cannot write {kind}")
    return file


def theirs(file, ids):
    model = llama_cpp.Llama(str(file), n_ctx=WINDOW, n_batch=WINDOW, logits_all=True, n_threads=2, verbose=False)
    total = count = 0
    for at in range(0, len(ids), WINDOW):
        window = ids[at:at + WINDOW]
        if len(window) < 2:
            break
        model.reset()
        model.eval(window)
        logits = np.array(model.scores[:len(window) - 1], np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        chosen = logits[np.arange(len(window) - 1), window[1:]]
        total -= (chosen - np.log(np.exp(logits).sum(axis=1))).sum()
        count += len(window) - 1
    return float(np.exp(total / count))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tool", "model", "text"):
        p.add_argument(f"--{name}", type=pathlib.Path, required=True)
    args = p.parse_args()
    ids = json.loads(subprocess.check_output([args.tool, "tokenize", "--model", args.model, "--text",
                                              args.text.read_text(), "--json"]))["ids"]
    print(f"{'':8} {'ours':>9} {'llama.cpp':>9}\nf32      {ours(args, '--precision', 'f32'):9.3f}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in FILE_TYPES:
            mine = ours(args) if kind == "stored" else ours(args, "--precision", kind)
            print(f"{kind:8} {mine:9.3f} {theirs(rounded(args, kind, pathlib.Path(folder)), ids):9.3f}", flush=True)
    print(f"nf4      {ours(args, '--precision', 'nf4'):9.3f}")


main()
