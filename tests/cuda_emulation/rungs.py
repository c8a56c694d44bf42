#!/usr/bin/env python3
"""Writes docs/cuda.md: how far each op of the CUDA device has been shown to work, from the labels and results of CTest.
usage: rungs.py REPOSITORY BUILD RESULTS   RESULTS: the file of ctest --output-junit

An op counts as
  built      where the nvcc-compiled test program has a test case that names it: `op, op: what`
  budgeted   where the test of the budgets passed and a kernel's budget names it
  emulated   where an emulated test program passed and lists such a test case
  planned    where it multiplies by cuBLASLt and the test of the descriptors passed
  run        where the tests on a GPU passed, and one names it
A test that was skipped, failed or did not run shows nothing; results older than a program are refused."""
import json
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

HEADERS = ("core/ops.hpp", "core/backward_ops.hpp")
MULTIPLY = {"linear", "region_scores", "linear_dx", "linear_dw"}  # call cuda/matmul.cuh


def tests_of(build):
    """Label: [(name, command)]."""
    shown = subprocess.run(["ctest", "--show-only=json-v1"], cwd=build, capture_output=True, text=True, check=True)
    labelled = {}
    for test in json.loads(shown.stdout)["tests"]:
        for label in next((p["value"] for p in test["properties"] if p["name"] == "LABELS"), []):
            labelled.setdefault(label, []).append((test["name"], test.get("command")))
    return labelled


def named_by(command):
    """The words that the program's test cases name before their colon."""
    if not command:  # CTest gives none for a program that is not built
        return set()
    listed = subprocess.run([*command, "--list-test-cases"], capture_output=True, text=True, check=True).stdout
    heads = [line.split(":")[0] for line in listed.splitlines() if ":" in line]
    return {word for head in heads for word in re.findall(r"\w+", head)}


def ops_of(header):
    return list(dict.fromkeys(re.findall(r"^void (\w+)\(D& dev", header.read_text(), re.M)))


def main(repository, build, results):
    cases = xml.etree.ElementTree.parse(results).iter("testcase")
    passed = {case.get("name") for case in cases if case.get("status") == "run"}
    tests = tests_of(build)
    for name, command in (test for label in ("emulated", "planned", "gpu") for test in tests.get(label, [])):
        if command and results.stat().st_mtime < pathlib.Path(command[0]).stat().st_mtime:
            sys.exit(f"{name}: expected results of the program as it is, found {results} older than it")
    budgets = json.loads((repository / "tests/cuda_budget/budgets.json").read_text())["kernels"]

    def cells(op):
        on_gpu = tests.get("gpu", [])
        built = [name for name, command in on_gpu if op in names[name]]
        budgeted = [k for k, b in budgets.items() if op in b["ops"]] if passes("budgeted") else []
        modes = [name.split("_")[-1] for name, _ in tests.get("emulated", []) if name in passed and op in names[name]]
        planned = op in MULTIPLY and passes("planned")
        run = [name for name, _ in on_gpu if name in passed and op in names[name]]
        return (
            "yes" if built else "no",
            ", ".join(k.removesuffix("_kernel") for k in budgeted) or "–",
            ", ".join(modes) or "no",
            "–" if op not in MULTIPLY else "yes" if planned else "no",
            "yes" if run else "never",
        )

    def passes(label):
        return bool(tests.get(label)) and all(name in passed for name, _ in tests[label])

    names = {name: named_by(command) for label in ("emulated", "gpu") for name, command in tests.get(label, [])}
    text = ABOVE
    for header in HEADERS:
        text += f"\n| `{header}` | built | budgeted: kernels | emulated | planned | run |\n|---|---|---|---|---|---|\n"
        for op in ops_of(repository / "include/facellava" / header):
            text += f"| {op} | " + " | ".join(cells(op)) + " |\n"
    ran = any(name in passed for name, _ in tests.get("gpu", []))
    (repository / "docs/cuda.md").write_text(text.replace("@NEVER@", "" if ran else "It has never run on a GPU. "))


ABOVE = """# What is shown of the CUDA device
Written by a script from the tests' labels and results, not by hand:

    ctest --test-dir BUILD -L 'emulated|budgeted|planned|gpu' --output-junit RESULTS.xml
    python3 tests/cuda_emulation/rungs.py . BUILD BUILD/RESULTS.xml

**@NEVER@No CUDA speed has been measured.**

- **built**: nvcc compiles it, by default for sm_80 and sm_90, and the test program, linked against the real cudart and cuBLASLt, has a test that names it (`cuda_compile`).
- **budgeted**: its kernels keep their budgets of registers, occupancy, wide accesses and spills, none of which says how fast they are (`cuda_budget`; [tests/cuda_budget/budgets.json](../tests/cuda_budget/budgets.json)). –: it launches no kernel of its own.
- **emulated**: a test that names it passed where the same source runs on the CPU: plain, under ASan + UBSan (asan), under TSan (tsan); the modes that passed (`test_cuda_emulation_*`).
- **planned**: the real cuBLASLt accepts the attributes of its products (`cuda_descriptors`). –: it multiplies no matrices by cuBLASLt.
- **run**: its tests passed on a GPU (`cuda_gpu`).
"""

if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
