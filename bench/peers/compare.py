"""Ours and a peer in turns, within seconds of each other, on the same threads; then a table of ratios.

A ratio above 1 says that we are faster. By wall clock, and by CPU time where the machine has other users.
"""

import argparse
import importlib.util
import json
import pathlib
import subprocess
import sys

PEERS = pathlib.Path(__file__).parent


class Server:
    """A process that runs its piece once for every line (bench_model --serve, serving.py)."""

    def __init__(self, command):
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.description = self.read()
        self.runs = []

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self.process.args)} ended with status {self.process.wait()}")
        return json.loads(line)

    def run(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.runs.append(self.read())

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def best(self, clock):
        return min(r[clock] for r in self.runs)


def in_turns(first, second, rounds):
    servers = []
    try:
        for command in (first, second):
            servers.append(Server(command))
        for server in servers:
            server.run()
            server.runs.clear()
        for _ in range(rounds):
            for server in servers:
                server.run()
    finally:
        for server in servers:
            server.close()
    return servers


def cases(args):
    """(name, the peer's command or None for reads of memory, our arguments, the bar, rounds)"""
    torch = importlib.util.find_spec("torch") is not None
    llama = importlib.util.find_spec("llama_cpp") is not None
    few, many = (2, 5) if args.quick else (5, 20)
    threads, layers = ["--threads", args.threads], ["--layers", args.layers]
    python = [sys.executable]
    llama_cpp = python + [PEERS / "ggml_llama.py", "--folder", args.work] + threads + layers
    torch_llama = python + [PEERS / "torch_llama.py"] + threads + layers
    for weights, bar in (("f32", 1.8), ("bf16", 1.0)):
        ours = ["--part", "vit", "--weights", weights]
        peer = torch and python + [PEERS / "torch_vit.py", "--weights", weights] + threads
        yield f"vit {weights} / PyTorch", peer, ours, bar, few
    ours = ["--part", "prefill"] + layers + ["--weights"]
    yield "prefill bf16 / PyTorch", torch and torch_llama, ours + ["bf16"], 0.9, few
    for weights in ("bf16", "q8", "q4"):
        peer = llama and llama_cpp + ["--weights", weights]
        yield f"prefill {weights} / llama.cpp", peer, ours + [weights], None, few
    for weights, bar in (("bf16", 0.6), ("q8", 0.5), ("q4", 0.5)):
        ours = ["--part", "decode", "--weights", weights] + layers
        yield f"decode {weights} / reads", None, ours, bar, many
    ours = ["--part", "decode"] + layers + ["--weights"]
    yield "decode bf16 / PyTorch", torch and torch_llama + ["--decode"], ours + ["bf16"], None, many
    for weights in ("bf16", "q8", "q4"):
        peer = llama and llama_cpp + ["--decode", "--weights", weights]
        yield f"decode {weights} / llama.cpp", peer, ours + [weights], None, many


def compare(name, peer, ours, bar, rounds, args):
    bench = [args.bench_model, "--threads", args.threads, "--serve"]
    command = peer if peer else bench + ["--part", "read"]
    us, them = in_turns(bench + ours, command, rounds)
    row = {"case": name, "peer": them.description.get("peer", "reads of DRAM"), "bar": bar}
    for clock in ("wall", "cpu"):
        row["ours_" + clock], row["theirs_" + clock] = us.best(clock), them.best(clock)
        scale = 1 if peer else us.description["bytes"] / them.description["bytes"]
        row["ratio_" + clock] = row["theirs_" + clock] / row["ours_" + clock] * scale
    row["undisturbed"] = min(1, us.best("cpu") / us.best("wall"))
    return row


def check_same(args):
    """Both sides compute the same: PyTorch's weights, input and output through files."""
    for part, script, extra in (("vit", "torch_vit.py", []), ("prefill", "torch_llama.py", ["--layers", 1])):
        folder = args.work / ("same-" + part)
        if not (folder / "output.npy").exists():
            command = [sys.executable, PEERS / script, "--save", folder, "--weights", "f32"] + extra
            subprocess.run([str(c) for c in command], check=True)
        for weights in ("f32", "bf16"):
            command = [args.bench_model, "--part", part, "--from", folder, "--weights", weights, "--kv", "f32",
                       "--runs", 1, "--seconds", 0, "--json"] + extra
            out = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout
            print(f"{part} {weights}: differs from PyTorch's fp32 output by {json.loads(out)['difference']:.1e}"
                  " (root mean square, relative)")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--bench-model", type=pathlib.Path, required=True)
    p.add_argument("--work", type=pathlib.Path, required=True, help="folder for files of some gigabytes")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--layers", type=int, default=4, choices=(1, 4, 32), help="of the decoder")
    p.add_argument("--only", nargs="*", default=[], help="cases whose names contain one of these")
    p.add_argument("--quick", action="store_true", help="few rounds")
    p.add_argument("--check", action="store_true", help="first compare outputs with PyTorch's")
    p.add_argument("--json", type=pathlib.Path, help="write the rows to this file")
    args = p.parse_args()
    if args.check:
        check_same(args)
    print(f"{args.threads} threads, {args.layers} decoder layers, 320 tokens; best of alternating runs, ms\n"
          f"{'case':32} {'ours':>9} {'theirs':>9} {'ratio':>6} | by CPU time: {'ours':>9} {'theirs':>9} {'ratio':>6}"
          f" | {'bar':>4} {'':6} undisturbed")
    rows = []
    for name, peer, ours, bar, rounds in cases(args):
        if args.only and not any(word in name for word in args.only):
            continue
        if peer is False:
            print(f"{name:32} skipped: the peer is not installed")
            continue
        row = compare(name, peer, ours, bar, rounds, args)
        rows.append(row)
        word = "" if bar is None else "met" if row["ratio_wall"] >= bar else "missed"
        print(f"{name:32} {1e3 * row['ours_wall']:9.1f} {1e3 * row['theirs_wall']:9.1f} {row['ratio_wall']:6.2f} |"
              f" {'':12} {1e3 * row['ours_cpu']:9.1f} {1e3 * row['theirs_cpu']:9.1f} {row['ratio_cpu']:6.2f} |"
              f" {bar or '':>4} {word:6} {row['undisturbed']:.2f}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
