"""What nvcc made of the kernels: reads device code by cuobjdump and nvdisasm, which need no GPU."""
import collections
import dataclasses
import pathlib
import re
import shutil
import subprocess
import tempfile

TOOLS = ("cuobjdump", "nvdisasm")
# Of a multiprocessor: warps, blocks, bytes of shared memory. Source: CUDA C++ Programming Guide, table "Technical
# Specifications per Compute Capability". Registers: 65536 in four partitions, given to warps by 256; shared memory:
# by 128 bytes, 1 KiB of each block reserved. Source: the toolkit's cuda_occupancy.h.
LIMITS = {"sm_80": (64, 32, 164 << 10), "sm_90": (64, 32, 228 << 10)}
RESERVED_SHARED = 1 << 10
FP64 = re.compile(r"D(ADD|MUL|FMA|SETP|MNMX|MMA)\b|MUFU\.\w+64")
WIDE_OPCODES = ("LDG.128", "LDG.64", "STG.128", "STG.64")
WIDE, SCALAR = "Access::kWide", "Access::kScalar"


def up(n, step):
    return -(-n // step) * step


def occupancy(arch, registers, shared, threads):
    """The share of a multiprocessor's warps that can be there at once, shared memory without the reserved part."""
    warps, blocks, shared_memory = LIMITS[arch]
    of_block = up(threads, 32) // 32
    by_registers = 65536 // 4 // up(32 * registers, 256) * 4 // of_block
    by_shared = shared_memory // up(shared + RESERVED_SHARED, 128)
    return min(by_registers, by_shared, warps // of_block, blocks) * of_block / warps


@dataclasses.dataclass
class Kernel:
    arch: str
    family: str  # the name without its template arguments
    arguments: list
    registers: int
    stack: int
    shared: int  # static, without the reserved part
    threads: int = 1024  # of a block, at most: the kernel's __launch_bounds__, else CUDA's limit
    opcodes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    calls: set = dataclasses.field(default_factory=set)

    def __str__(self):
        arguments = ", ".join(self.arguments)
        return (f"{self.family}<{arguments}>" if arguments else self.family) + f" on {self.arch}"

    def count(self, pattern):
        return sum(n for opcode, n in self.opcodes.items() if re.match(pattern, opcode))

    wide = property(lambda self: {o: self.count(o.replace(".", r"\..*\b") + r"\b") for o in WIDE_OPCODES})
    local_accesses = property(lambda self: self.count(r"(LDL|STL)\b"))
    fp64 = property(lambda self: self.count(FP64))


class Name:
    """As much of the Itanium C++ ABI's mangling as names of kernels need."""

    def __init__(self, mangled):
        self.text, self.at = mangled, 0
        if self.take("_Z"):
            self.family, self.arguments = self.nested() if self.text[self.at] == "N" else self.part()
        else:
            self.family, self.arguments = mangled, []

    def take(self, pattern):
        found = re.compile(pattern).match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found

    def part(self):
        length = int(self.take(r"\d+")[0])
        name = self.text[self.at : self.at + length]
        self.at += length
        return name, self.list() if self.take("I") else []

    def nested(self):
        self.take("N")
        last = ("", [])
        while not self.take("E"):
            if not self.take(r"S[0-9A-Z]*_|St"):
                last = self.part()
        return last

    def list(self):
        items = []
        while not self.take("E"):
            items.append(self.item())
        return items

    def item(self):
        if self.take("L"):
            kind = self.item()
            value = self.take(r"(n?)(\d+)E")
            number = "-" * bool(value[1]) + value[2]
            if kind == "Access":  # the order of cuda/warp.cuh
                return WIDE if number == "1" else SCALAR
            return number if kind in ("int", "long") else f"{kind}({number})"
        if self.text[self.at] == "N" or self.text[self.at].isdigit():
            name, arguments = self.nested() if self.text[self.at] == "N" else self.part()
            return f"{name}<{', '.join(arguments)}>" if arguments else name
        builtin = self.take(r"S[0-9A-Z]*_|[a-z]")[0]
        return {"f": "float", "i": "int", "d": "double", "l": "long"}.get(builtin, builtin)


def read(arch, usage, listing):
    """The kernels of one cubin, from what `cuobjdump -res-usage` and `nvdisasm` say of it."""
    kernels = {}
    for mangled, numbers in re.findall(r"Function (\S+):\n\s+(REG:.*)", usage):
        of = {key: int(n) for key, n in re.findall(r"([A-Z]+)(?:\[\d+\])?:(\d+)", numbers)}
        name = Name(mangled)
        reserved = RESERVED_SHARED if arch >= "sm_90" else 0  # which cuobjdump counts in from sm_90 on
        shared = max(of["SHARED"] - reserved, 0)
        kernels[mangled] = Kernel(arch, name.family, name.arguments, of["REG"], of["STACK"], shared)
    bounded = code = None
    words = 0
    for line in listing.splitlines():
        if section := re.match(r"\s+\.section\s+\.nv\.info\.([^\s,]+)", line):
            bounded, code = kernels.get(section[1]), None
        elif section := re.match(r"\.text\.(\S+):", line):
            code = kernels.get(section[1])
        elif "nvinfo :" in line:
            words = 3 if "EIATTR_MAX_THREADS" in line else 0
        elif words and bounded and (word := re.search(r"\.word\s+0x([0-9a-f]+)$", line)):
            bounded.threads = int(word[1], 16) * (bounded.threads if words < 3 else 1)
            words -= 1
        elif code and (said := re.match(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)(.*)", line)):
            code.opcodes[said[1]] += 1
            called = re.search(r"`\((?:\$__internal_\d+_\$)?([^.)][^)]*)\)", said[2])
            if said[1].startswith("CALL") and called:  # a target that begins with a dot is a place in the kernel itself
                code.calls.add(called[1])
    return list(kernels.values())


def find_tools(folders):
    """{name: path}, or None where one is missing."""
    found = {t: next(filter(None, (shutil.which(t, path=f) for f in [*folders, None])), None) for t in TOOLS}
    return found if all(found.values()) else None


def read_binary(tools, binary):
    """The kernels of a library or program, all architectures."""

    def run(*command, **how):
        return subprocess.run(command, capture_output=True, text=True, check=True, **how).stdout

    kernels = []
    with tempfile.TemporaryDirectory() as folder:
        run(tools["cuobjdump"], "-xelf", "all", pathlib.Path(binary).resolve(), cwd=folder)
        for cubin in sorted(pathlib.Path(folder).glob("*.cubin")):
            arch = re.search(r"\.(sm_\w+)\.cubin$", cubin.name)[1]
            if arch in LIMITS:
                kernels += read(arch, run(tools["cuobjdump"], "-res-usage", cubin), run(tools["nvdisasm"], cubin))
    return kernels
