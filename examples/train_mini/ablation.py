#!/usr/bin/env python3
"""What landmarks and fusions are worth: stage 2 on the trained towers, without landmarks and with each fusion, from
three seeds. usage: ablation.py WORK BUILD
WORK: the folder of a finished train.sh. BUILD: a build folder whose facellava and train_mini_evaluate have the fusions:
  cmake -B BUILD -DFACELLAVA_EXTRA_CONFIGS=examples/train_mini/fusions.hpp
What was done of an ablation that was stopped stays done: WORK/ablation."""

import argparse
import json
import pathlib
import re
import statistics
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
VARIANTS = {"without landmarks": "mini", "simple": "mini_simple", "corrected": "mini_corrected", "paper": "mini"}
ROWS = {"expression of 7, accuracy": "expression", "action units, mean F1": "action units, mean F1"}
ABOUT = re.compile(r"AU\d|neutral|happy|sad|surprised|fearful|angry|disgusted")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("work", type=pathlib.Path)
parser.add_argument("build", type=pathlib.Path)
parser.add_argument("--steps", type=int, default=300)
parser.add_argument("--pictures", type=int, default=500, help="unseen faces that each model is asked about")
parser.add_argument("--seeds", type=int, default=3)
options = parser.parse_args()
work, examples = options.work.resolve(), options.build.resolve() / "examples"
tool, mini = examples / "facellava" / "facellava", examples / "train_mini"
size = f"{options.steps}-{options.pictures}"  # what was done in another size is another ablation
out = work / "ablation" / size
out.mkdir(parents=True, exist_ok=True)


def run(program, *arguments):
    return subprocess.run([str(a) for a in (program, *arguments)], check=True, capture_output=True, text=True).stdout


def write_data(path, landmarks):
    """Pictures that have landmarks, and what is said of expressions and action units."""
    if path.exists():
        return
    kept = []
    for record in json.loads((work / "data" / "data.json").read_text()):
        talks = [t for t in record["conversations"] if ABOUT.search(t[1]["value"])]
        if "image" not in record or "landmarks_2d" not in record or not talks:
            continue
        one = {key: record[key] for key in ("id", "image", "landmarks_2d")} | {"conversations": talks}
        if not landmarks:
            del one["landmarks_2d"]
        kept.append(one)
        if len(kept) == 16 * options.steps:
            break
    path.write_text(json.dumps(kept))


def figures(variant, seed):
    landmarks = variant != "without landmarks"
    folder = out / f"{variant.replace(' ', '_')}-{seed}"
    done = folder / "figures.json"
    if done.exists():
        return json.loads(done.read_text())
    folder.mkdir(exist_ok=True)
    data = work / "data" / f"ablation-{options.steps}{'' if landmarks else '-without'}.json"
    write_data(data, landmarks)
    if not (folder / "begin").exists():
        run(tool, "random", "--config", VARIANTS[variant], "--to", folder / "random", "--format", "f32", "--start",
            "scaled", "--seed", seed, "--tokenizer", work / "tokenizer.model", "--settings", HERE / "settings.json")
        run(mini / "train_mini_begin", "landmarks", "--model", folder / "random", "--run", HERE / "runs" / "stage2.json",
            "--to", folder / "placed")
        run(mini / "train_mini_begin", "towers", "--model", folder / "placed", "--towers", work / "video_tower" / "model",
            "--to", folder / "begin")
    config = json.loads((HERE / "runs" / "stage2.json").read_text())
    config |= {"model": str(folder / "begin"), "data": str(data), "output": str(folder / "run"), "seed": seed}
    config |= {"steps": options.steps, "save_every": 0}
    (folder / "run.json").write_text(json.dumps(config))
    run(tool, "train", "--config", folder / "run.json")
    table = run(mini / "train_mini_evaluate", "--model", folder / "run" / "model", "--count", options.pictures, "--clips", 0,
                "--up-to", "action_units", *([] if landmarks else ["--without-landmarks"]))
    found = {short: float(re.search(re.escape(row) + r" +\| *([0-9.]+)", table).group(1)) for row, short in ROWS.items()}
    done.write_text(json.dumps(found))
    return found


print(f"{options.steps} steps of stage 2, {options.pictures} unseen faces, {options.seeds} seeds: mean (least to most)")
print("| | " + " | ".join(ROWS.values()) + " |\n|---" + "|---" * len(ROWS) + "|")
for variant in VARIANTS:
    found = [figures(variant, seed) for seed in range(1, options.seeds + 1)]
    cells = [[f[short] for f in found] for short in ROWS.values()]
    print(f"| {variant} | " + " | ".join(f"{statistics.mean(c):.3f} ({min(c):.3f} to {max(c):.3f})" for c in cells) + " |",
          flush=True)
