"""What the peers share: one line of standard input asks for one run, one line of JSON answers with its seconds."""

import argparse
import json
import pathlib
import resource
import sys
import time


def parser(what):
    p = argparse.ArgumentParser(description=what)
    p.add_argument("--weights", default="bf16", help="f32 or bf16; llama.cpp: bf16, q8, q4")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--folder", type=pathlib.Path, help="llama.cpp: where its files are kept; training: bench_train's")
    return p


def parse(what):
    p = parser(what)
    p.add_argument("--layers", type=int, default=4, help="of the decoder")
    p.add_argument("--tokens", type=int, default=320, help="prefill: of the prompt; decode: before the new one")
    p.add_argument("--decode", action="store_true", help="one token in place of prefill")
    p.add_argument("--save", help="folder for weights, input and output, that bench_model --from reads; then stop")
    return p.parse_args()


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def serve(description, run, threads):
    run()  # warm-up: kernels that are made or chosen at the first call
    print(json.dumps(description), flush=True)
    for _ in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps({"wall": wall, "cpu": cpu / threads, "peak_mib": peak_mib()}), flush=True)
