#!/usr/bin/env python3
"""Fails when a kernel of the CUDA device breaks its budget (budgets.json). Needs no GPU. A budget guards against
regressions; it says nothing of speed.

budgets.json: the nvcc whose code it describes, and of each kernel, by name, for its worst instance:
  ops               the ops of core/ops.hpp and core/backward_ops.hpp that launch it
  sm_80, sm_90      registers of a thread at most, share of a multiprocessor's warps at least
  shared            static shared memory of a block, bytes, at most; dynamic_shared: {first template argument or "":
                    bytes that a launch asks for at most}
  wide              accesses of global memory of 16 bytes (128 bits) and 8 at least, of each instance, by its template
                    arguments but for Access; Access::kScalar is not asked
  calls             subroutines that it may call
  fp64, spills      why it may compute in double, or use local memory ({"bytes", "why"})
--write makes the numbers and calls anew from what is found; ops, reasons and dynamic_shared are written by hand."""
import argparse
import json
import pathlib
import sys

import sass

SKIPPED = 77


def shared_of(kernel, budget):
    dynamic = budget.get("dynamic_shared", {})
    return kernel.shared + dynamic.get(kernel.arguments[0] if kernel.arguments else "", dynamic.get("", 0))


def variant(kernel):
    return ", ".join(a for a in kernel.arguments if a not in (sass.WIDE, sass.SCALAR))


def occupancy_of(kernel, budget):
    return sass.occupancy(kernel.arch, kernel.registers, shared_of(kernel, budget), kernel.threads)


def faults_of(kernel, budget):
    """Sentences: what one instance breaks."""

    def fault(what, expected, found):
        return f"{kernel}: {what}: expected {expected}, found {found}"

    of_arch, spills = budget.get(kernel.arch), budget.get("spills", {"bytes": 0})
    if of_arch is None:
        yield f"{kernel}: expected a budget for {kernel.arch}, found none"
        return
    occupancy = occupancy_of(kernel, budget)
    if kernel.registers > of_arch["registers"]:
        yield fault("registers", f"at most {of_arch['registers']}", kernel.registers)
    if occupancy < of_arch["occupancy"]:
        yield fault("occupancy", f"at least {of_arch['occupancy']}", occupancy)
    if kernel.shared > budget["shared"]:
        yield fault("static shared memory", f"at most {budget['shared']} bytes", kernel.shared)
    if kernel.stack > spills["bytes"]:
        yield fault("stack, which spills", f"at most {spills['bytes']} bytes", kernel.stack)
    if kernel.local_accesses and not spills.get("why"):
        yield fault("loads and stores of local memory", "none, or a reason in the budget", kernel.local_accesses)
    if kernel.fp64 and not budget.get("fp64"):
        yield fault("instructions in double", "none, or a reason in the budget", kernel.fp64)
    for call in sorted(kernel.calls - set(budget["calls"])):
        yield fault("calls", f"at most {', '.join(budget['calls']) or 'none'}", call)
    if sass.SCALAR in kernel.arguments:
        return
    wide = budget["wide"].get(variant(kernel), {})
    for opcode, least in wide.items():
        if kernel.wide[opcode] < least:
            yield fault(opcode, f"at least {least}", kernel.wide[opcode])
    if sass.WIDE in kernel.arguments and not wide:
        yield fault("wide accesses, which Access::kWide is for", "some in the budget", "none")


def check(kernels, budgets):
    """Sentences: all that is broken."""
    faults = []
    for kernel in kernels:
        if kernel.family in budgets:
            faults += faults_of(kernel, budgets[kernel.family])
        else:
            faults.append(f"{kernel}: expected a budget for {kernel.family}, found none")
    families = {k.family for k in kernels}
    for family, budget in budgets.items():
        if family not in families:
            faults.append(f"{family}: expected a kernel for this budget, found none")
        if not budget.get("ops"):
            faults.append(f"{family}: expected the ops that launch it in its budget, found none")
    return faults


def measured(kernels, old):
    """A family's budget that its instances just meet, with what is written by hand in the old one."""
    wide = {}
    for k in kernels:
        if sass.SCALAR not in k.arguments:
            least = wide.setdefault(variant(k), dict(k.wide))
            least.update({opcode: min(n, k.wide[opcode]) for opcode, n in least.items()})
    wide = {v: {opcode: n for opcode, n in least.items() if n} for v, least in sorted(wide.items())}
    new = {"ops": old.get("ops", [])}
    for arch in sorted({k.arch for k in kernels}):
        of_arch = [k for k in kernels if k.arch == arch]
        registers, occupancy = max(k.registers for k in of_arch), min(occupancy_of(k, old) for k in of_arch)
        new[arch] = {"registers": registers, "occupancy": occupancy}
    new |= {
        "shared": max(k.shared for k in kernels),
        "wide": {v: least for v, least in wide.items() if least},
        "calls": sorted(set().union(*(k.calls for k in kernels))),
    }
    return new | {key: old[key] for key in ("dynamic_shared", "fp64", "spills") if key in old}


def written(nvcc, budgets):
    """JSON, a line a property."""
    families = []
    for family, budget in sorted(budgets.items()):
        lines = ",\n".join(f"      {json.dumps(key)}: {json.dumps(value)}" for key, value in budget.items())
        families.append(f"    {json.dumps(family)}: {{\n{lines}\n    }}")
    return f'{{\n  "nvcc": {json.dumps(nvcc)},\n  "kernels": {{\n' + ",\n".join(families) + "\n  }\n}\n"


def table(kernels, budgets):
    for k in sorted(kernels, key=str):
        budget = budgets.get(k.family, {})
        yield (f"{str(k):75} registers {k.registers:3}  stack {k.stack:2}  shared {shared_of(k, budget):6}  "
               f"occupancy {occupancy_of(k, budget):.3f}  {' '.join(f'{o} {n}' for o, n in k.wide.items() if n)}")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("binary", help="library or program that holds the device code")
    options.add_argument("--budgets", type=pathlib.Path, default=pathlib.Path(__file__).with_name("budgets.json"))
    options.add_argument("--nvcc", required=True, help="version of the nvcc that made it")
    options.add_argument("--tools", nargs="*", default=[], help="folders to find cuobjdump and nvdisasm in, before PATH")
    options.add_argument("--write", action="store_true")
    options.add_argument("--list", action="store_true", help="print every instance")
    o = options.parse_args()

    tools = sass.find_tools(o.tools)
    if not tools:
        print(f"Skipped: {' and '.join(sass.TOOLS)} were not found in {', '.join([*o.tools, 'PATH'])}")
        return SKIPPED
    file = json.loads(o.budgets.read_text())
    nvcc, budgets = ".".join(o.nvcc.split(".")[:2]), file["kernels"]
    if nvcc != file["nvcc"] and not o.write:
        print(f"Skipped: the budgets are for nvcc {file['nvcc']}, and this is {nvcc}; --write makes them anew")
        return SKIPPED
    kernels = sass.read_binary(tools, o.binary)
    if not kernels:
        print(f"Skipped: {o.binary} has no code for {', '.join(sass.LIMITS)}")
        return SKIPPED
    if o.write:
        families = sorted({k.family for k in kernels})
        of = lambda family: [k for k in kernels if k.family == family]
        budgets = {f: measured(of(f), budgets.get(f, {})) for f in families}
        o.budgets.write_text(written(nvcc, budgets))
    if o.list:
        print("\n".join(table(kernels, budgets)))
    faults = check(kernels, budgets)
    for fault in faults:
        print(fault)
    print(f"{len(kernels)} instances of {len({k.family for k in kernels})} kernels on "
          f"{', '.join(sorted({k.arch for k in kernels}))}: {len(faults)} faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
