"""Draws the roofline picture of docs/performance.md from measured results:
  peak --threads 1 --json peak.json
  bench_ops --threads 1 --clock cpu --weights f32 bf16 q8 q4 --benchmark_out=ops.json --benchmark_out_format=json
  python3 bench/roofline.py --peak peak.json --ops ops.json --clock cpu --out docs/roofline.svg
"""

import argparse
import json
import math

LEFT, TOP, WIDTH, HEIGHT = 70, 30, 560, 520
X_RANGE, Y_RANGE = (0.1, 4000.0), (2.0, 1000.0)
ROWS = 46  # of a column of the list
COLOURS = {"fp32": "#1f77b4", "bf16": "#d62728", "int8": "#2ca02c"}
OPS = ("linear", "attention", "causal_attention")


def x_of(intensity):
    return LEFT + WIDTH * math.log(intensity / X_RANGE[0]) / math.log(X_RANGE[1] / X_RANGE[0])


def y_of(rate):
    return TOP + HEIGHT * (1 - math.log(rate / Y_RANGE[0]) / math.log(Y_RANGE[1] / Y_RANGE[0]))


def text(x, y, words, size=11, anchor="start", colour="#333"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def line(x1, y1, x2, y2, colour, dashes=""):
    extra = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{extra}/>'


def axes():
    out = [f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>']
    for tick in (0.1, 1, 10, 100, 1000):
        out.append(line(x_of(tick), TOP, x_of(tick), TOP + HEIGHT, "#eee"))
        out.append(text(x_of(tick), TOP + HEIGHT + 16, f"{tick:g}", anchor="middle"))
    for tick in (2, 5, 10, 20, 50, 100, 200, 500, 1000):
        out.append(line(LEFT, y_of(tick), LEFT + WIDTH, y_of(tick), "#eee"))
        out.append(text(LEFT - 6, y_of(tick) + 4, f"{tick:g}", anchor="end"))
    out.append(text(LEFT + WIDTH / 2, TOP + HEIGHT + 34, "operations a byte", anchor="middle"))
    out.append(text(LEFT, TOP - 10, "billions of operations a second"))
    return out


def roofs(compute, read):
    out = []
    for tier, dashes in (("DRAM", ""), ("L3", "6 3")):
        low = max(X_RANGE[0], Y_RANGE[0] / read[tier])
        high = min(X_RANGE[1], max(compute.values()) / read[tier])
        out.append(line(x_of(low), y_of(low * read[tier]), x_of(high), y_of(high * read[tier]), "#555", dashes))
        out.append(text(x_of(low) + 6, y_of(low * read[tier]) - 4, f"{tier} {read[tier]:.0f} GB/s", 10))
    for unit, peak in compute.items():
        out.append(line(x_of(peak / read["L3"]), y_of(peak), LEFT + WIDTH, y_of(peak), COLOURS[unit]))
        out.append(text(x_of(peak / read["L3"]) + 12, y_of(peak) - 4, f"{unit} {peak:.0f}", 10, colour=COLOURS[unit]))
    return out


def points(runs):
    out = []
    for i, run in enumerate(sorted(runs, key=lambda r: r["GOP/s"] / r["GB/s"]), 1):
        unit = run["label"].split(",")[0]
        x, y = x_of(min(run["GOP/s"] / run["GB/s"], X_RANGE[1])), y_of(max(run["GOP/s"], Y_RANGE[0]))
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{COLOURS[unit]}" fill-opacity="0.8"/>')
        out.append(text(x + 4, y - 3, i, 8, colour=COLOURS[unit]))
        words = " ".join(run["name"].split("/")[:3]).split(" avx")[0]
        column, row = divmod(i - 1, ROWS)
        out.append(text(LEFT + WIDTH + 20 + 270 * column, TOP + 12.5 * (row + 1), f"{i}  {words}  {run['peak%']:.0f} %",
                        10, colour=COLOURS[unit]))
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--peak", required=True)
    p.add_argument("--ops", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--isa", default="avx512bf16")
    p.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    args = p.parse_args()
    with open(args.peak) as f:
        peaks = [r for r in json.load(f) if r["threads"] == args.threads]
    compute = {r["name"].split()[1]: r[args.clock] / 1e9 for r in peaks if r["name"].startswith(args.isa + " ")}
    read = {r["name"]: r[args.clock] / 1e9 for r in peaks if r["kind"] == "read"}
    with open(args.ops) as f:
        everything = json.load(f)["benchmarks"]
    wanted = f"/{args.isa}/threads:{args.threads}/"
    runs = [r for r in everything if wanted in r["name"] and r["name"].split("/")[0] in OPS
            and r.get("GOP/s", 0) > 0]
    body = axes() + roofs(compute, read) + points(runs)
    width = LEFT + WIDTH + 20 + 270 * math.ceil(len(runs) / ROWS)
    height = TOP + max(HEIGHT + 50, 12.5 * (min(len(runs), ROWS) + 1))
    with open(args.out, "w") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height:.0f}" '
                'font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n')
        f.write("\n".join(body) + "\n</svg>\n")


if __name__ == "__main__":
    main()
