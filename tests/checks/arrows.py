#!/usr/bin/env python3
"""Checks who includes whom in include/facellava (docs/design.md, section "Rooms"), and that no header prints, ends the
process or reads the environment.   usage: arrows.py REPOSITORY"""
import pathlib
import re
import sys

MAY = {
    "core": set(),
    "layers": {"core"},
    "models": {"core", "layers"},
    "io": {"core"},
    "text": {"core", "io"},
    "media": {"core"},
    "faces": {"core", "layers", "io", "media"},
    "run": {"core", "layers", "models", "text", "io", "media", "faces"},
    "train": {"core", "layers", "models", "text", "io", "media", "faces", "run"},
    "ref": {"core"},
    "cpu": {"core"},
    "cuda": {"core"},
}
FORBIDDEN = re.compile(r"\b(abort|exit|_Exit|quick_exit|terminate|printf|fprintf|puts|getenv|setenv)\s*\(|std::(cout|cerr|clog)\b|#include <(iostream|regex)>")


def main(root):
    include = root / "include" / "facellava"
    faults = []
    for path in sorted(p for p in include.rglob("*") if p.suffix in (".hpp", ".inl", ".cuh")):
        where = path.relative_to(root)
        room = path.relative_to(include).parts[0]
        if room not in MAY:
            faults.append(f"{where}: the room {room} is not in the design")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line.split("//")[0]
            found = re.search(r'#include "facellava/([a-z]+)/', code)
            if found and found[1] != room and found[1] not in MAY[room]:
                faults.append(f"{where}:{number}: {room} must not know {found[1]}")
            if FORBIDDEN.search(code):
                faults.append(f"{where}:{number}: a header must not print, end the process or read the environment: {line.strip()}")
    print("\n".join(faults) or "arrows: all headers keep to the design")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
