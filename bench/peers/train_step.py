"""bench_train beside PyTorch's step on the same model and inputs, in turns, within seconds of each other:
  python bench/peers/train_step.py --bench-train build/bench/bench_train --work build/train_step
Both must begin with the same loss. Tokens a second of the best step of each; peak memory of a process over what it had
before it had a model. A ratio above 1 says that we are faster.
"""

import argparse
import pathlib
import sys

from compare import PEERS, in_turns

LOSS = {"f32": 1e-5, "bf16": 1e-2}  # relative; bf16 has 8 bits, and each side rounds in places of its own


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bench-train", required=True)
    p.add_argument("--work", type=pathlib.Path, required=True, help="for random models")
    p.add_argument("--geometries", nargs="+", default=["small", "middle"])
    p.add_argument("--stages", nargs="+", default=["stage1", "stage2"])
    p.add_argument("--weights", nargs="+", default=["f32", "bf16"])
    p.add_argument("--recompute", nargs="+", default=["none", "blocks"])
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    args = p.parse_args()
    print(f"{args.threads} threads; tokens/s by wall clock (by CPU time), MiB\n"
          f"{'step':32} {'ours':>16} {'PyTorch':>16} {'ratio':>12} | {'memory, ours':>12} {'PyTorch':>8}"
          " | loss, ours, PyTorch")  # fmt: skip
    for geometry in args.geometries:
        folder = args.work / geometry
        folder.mkdir(parents=True, exist_ok=True)
        for stage in args.stages:
            for weights in args.weights:
                for recompute in args.recompute:
                    compare(geometry, stage, weights, recompute, folder, args)


def compare(geometry, stage, weights, recompute, folder, args):
    same = ["--stage", stage, "--weights", weights, "--folder", folder, "--threads", args.threads]
    ours = [args.bench_train, "--serve", "--geometry", geometry, "--recompute", recompute] + same
    us, them = in_turns(ours, [sys.executable, PEERS / "torch_train_step.py"] + same, args.rounds)
    losses = [s.description["loss"] for s in (us, them)]
    if abs(losses[0] - losses[1]) > LOSS[weights] * losses[1] or us.description["tokens"] != them.description["tokens"]:
        sys.exit(f"{geometry} {stage} {weights}: ours begins with loss {losses[0]}, PyTorch with {losses[1]}")
    rates = [[s.description["tokens"] / s.best(clock) for clock in ("wall", "cpu")] for s in (us, them)]
    memory = [s.runs[-1]["peak_mib"] - s.description["before_mib"] for s in (us, them)]
    name = f"{geometry} {stage} {weights}" + (", recomputed" if recompute == "blocks" else "")
    print(f"{name:32} " + " ".join(f"{w:7.0f} ({c:6.0f})" for w, c in rates)
          + f" {rates[0][0] / rates[1][0]:5.2f} ({rates[0][1] / rates[1][1]:4.2f}) | {memory[0]:12.0f} {memory[1]:8.0f}"
          + f" | {losses[0]:.6f} {losses[1]:.6f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
