"""The trainer learns: from nothing, in two minutes, which expression a face has that it has never seen, by its landmarks;
without them it does not. usage: learning_test.py TOOL MINI_FOLDER REPOSITORY"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

TOOL, MINI, REPOSITORY = (pathlib.Path(p).resolve() for p in sys.argv[1:4])
RUNS = REPOSITORY / "examples" / "train_mini"
STEPS, FACES, UNSEEN = 120, 500, 150


def run(program, *arguments):
    done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{program.name} {arguments}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr}")
    return done.stdout


def question(record, landmarks):
    emotion = record["labels"]["emotion"]
    talk = [
        {"from": "human", "value": "<image>What emotion does this face show?"},
        {"from": "gpt", "value": f"The person looks {emotion}."},
    ]
    asked = {"image": record["image"], "conversations": talk}
    return asked | ({"landmarks_2d": record["landmarks_2d"]} if landmarks else {})


def accuracy(folder, records, landmarks):
    """The model begins at random, its tower too: what it learns of a face comes by the landmarks."""
    name = "with" if landmarks else "without"
    (folder / "data" / f"{name}.json").write_text(json.dumps([question(r, landmarks) for r in records]))
    config = json.loads((RUNS / "runs" / "stage2.json").read_text())
    config |= {"model": str(folder / "begin"), "data": str(folder / "data" / f"{name}.json")}
    config |= {"output": str(folder / name), "steps": STEPS, "batch_size": 32, "pack": 1, "save_every": 0}
    (folder / f"{name}.json").write_text(json.dumps(config))
    run(TOOL, "train", "--config", folder / f"{name}.json")
    options = [] if landmarks else ["--without-landmarks"]
    table = run(MINI / "train_mini_evaluate", "--model", folder / name / "model", "--count", UNSEEN, "--clips", 0,
                "--up-to", "expression", *options)
    return float(re.search(r"expression of 7, accuracy +\| *([0-9.]+)", table).group(1))


with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    data = folder / "data"
    run(MINI / "train_mini_prepare", "--out", data, "--seed", 3, "--count", FACES, "--by-box", 0, "--without-landmarks", 0)
    run(MINI / "train_mini_begin", "vocabulary", "--data", data / "data.json", "--out", folder / "tokenizer.model")
    run(TOOL, "random", "--config", "mini", "--to", folder / "random", "--format", "f32", "--start", "scaled", "--tokenizer",
        folder / "tokenizer.model", "--settings", RUNS / "settings.json")
    run(MINI / "train_mini_begin", "landmarks", "--model", folder / "random", "--run", RUNS / "runs" / "stage1.json", "--to",
        folder / "begin")
    faces = [r for r in json.loads((data / "data.json").read_text()) if "emotion" in r["labels"]]
    seen, blind = (accuracy(folder, faces, landmarks) for landmarks in (True, False))
    print(f"{len(faces)} faces to learn from: {seen:.2f} of {UNSEEN} others with landmarks, {blind:.2f} without; chance 0.14")
    if seen < 0.5:
        sys.exit("with landmarks: expected half of them right, and more")
    if blind > seen - 0.2:
        sys.exit("without landmarks: expected to stay far below")
