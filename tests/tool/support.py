"""What the tests of the tool share: running it, and small readers and writers of the files it takes."""

import array
import json
import math
import mmap
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest
import zlib

TYPES = {
    "F32": ("f", 4),
    "F64": ("d", 8),
    "I64": ("q", 8),
    "I32": ("i", 4),
    "U8": ("B", 1),
    "BF16": ("H", 2),
    "F16": ("e", 2),
}


class Tensor:
    """A row-major tensor, read where it lies."""

    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, list(shape), memoryview(data)

    def flat(self):
        return self.part(0, math.prod(self.shape))

    def part(self, first, count):
        letter, size = TYPES[self.dtype]
        piece = self.data[first * size : (first + count) * size]
        return array.array(letter, bytes(piece)) if letter != "e" else struct.unpack(f"<{count}e", piece)

    def row(self, *at):
        """The last dimension at the given indices."""
        index = 0
        for size, i in zip(self.shape, at):
            index = index * size + i
        return self.part(index * self.shape[-1], self.shape[-1])


def read_safetensors(path):
    with open(path, "rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(bytes(data[8 : 8 + length]))
    return {
        name: Tensor(
            t["dtype"], t["shape"], data[8 + length + t["data_offsets"][0] : 8 + length + t["data_offsets"][1]]
        )
        for name, t in header.items()
        if name != "__metadata__"
    }


def write_safetensors(path, tensors):
    header, end = {}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": t.dtype, "shape": t.shape, "data_offsets": [end, end + len(t.data)]}
        end += len(t.data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            file.write(t.data)


def floats(values, shape):
    return Tensor("F32", shape, array.array("f", values).tobytes())


def write_npy(path, shape, values):
    head = "{'descr': '<f8', 'fortran_order': False, 'shape': (%s,), }" % ", ".join(map(str, shape))
    head += " " * (-(len(head) + 11) % 64) + "\n"
    body = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()
    path.write_bytes(body + array.array("d", values).tobytes())


def write_pts(path, points):
    lines = "".join(f"{x:.6f} {y:.6f}\n" for x, y in points)
    path.write_text(f"version: 1\nn_points: {len(points)}\n{{\n{lines}}}\n")


def read_png(path):
    """Width, height and RGB bytes of a PNG of 8-bit RGB, not interlaced."""
    data, at, packed = path.read_bytes(), 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IHDR":
            width, height = struct.unpack(">II", data[at + 8 : at + 16])
            assert data[at + 16 : at + 18] == b"\x08\x02" and data[at + 20] == 0, "expected 8-bit RGB"
        packed += data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    raw, above, rows = zlib.decompress(packed), bytearray(3 * width), []
    for y in range(height):
        kind, row = raw[y * (3 * width + 1)], bytearray(raw[y * (3 * width + 1) + 1 : (y + 1) * (3 * width + 1)])
        for i in range(3 * width):
            a, b, c = (row[i - 3], above[i], above[i - 3]) if i > 2 else (0, above[i], 0)
            p = abs(b - c), abs(a - c), abs(a + b - 2 * c)
            row[i] = row[i] + (0, a, b, (a + b) // 2, (a, b, c)[p.index(min(p))])[kind] & 255
        rows.append(bytes(row))
        above = row
    return width, height, b"".join(rows)


def write_png(path, width, height, rgb=None):
    """A picture of the given bytes, or one with colours that differ from pixel to pixel."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rgb = rgb or bytes(v for y in range(height) for x in range(width) for v in (x % 251, y % 241, (x + y) % 239))
    rows = b"".join(b"\0" + rgb[3 * width * y : 3 * width * (y + 1)] for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


class ToolTest(unittest.TestCase):
    """A test with a folder of its own. tool_test.py sets the paths."""

    tool = goldens = repository = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="facellava_tool_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.tiny = self.goldens / "model_tiny" / "ckpt_safetensors_bf16"
        self.tiny_bin = self.goldens / "model_tiny" / "ckpt_bin_fp16"
        self.probe = self.repository / "tests" / "assets" / "probe"

    def call(self, *arguments, timeout=100):
        return subprocess.run([self.tool, *map(str, arguments)], capture_output=True, timeout=timeout, cwd=self.folder)

    def good(self, *arguments):
        """What the tool prints; it must succeed and say nothing on stderr."""
        done = self.call(*arguments)
        self.assertEqual((0, b""), (done.returncode, done.stderr), arguments)
        return done.stdout.decode()

    def json(self, *arguments):
        return json.loads(self.good(*arguments, "--json"))

    def refused(self, words, *arguments, prints=False):
        """The one message of a call that must fail in an orderly way; it has to name all words."""
        done = self.call(*arguments)
        said = done.stderr.decode()
        self.assertGreater(done.returncode, 0, f"{arguments}: ended with {done.returncode}; {said}")
        if not prints:
            self.assertEqual(b"", done.stdout, arguments)
        lines = [line for line in said.splitlines() if line != "Run with --help for more information."]
        self.assertEqual(1, len(lines), f"{arguments}: expected one message, found {said!r}")
        for word in words:
            self.assertIn(str(word), said)
        for word in ("std::", "bad_alloc", "facellava: [json"):  # what a user cannot read
            self.assertNotIn(word, said)
        return said

    def write(self, name, content):
        """A file of the test's folder, as text, bytes or JSON."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, (bytes, bytearray)):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def landmarks_of(self, name):
        return json.loads((self.probe / "faces" / name).with_suffix(".json").read_text())

    def tiny_tensors(self):
        tensors = {}
        for shard in sorted(self.tiny.glob("*.safetensors")):
            tensors.update(read_safetensors(shard))
        return tensors

    def tiny_copy(self, name, tensors=None, config=None):
        """A folder with the tiny model: other tensors, or changed keys of config.json (a value of None removes one)."""
        folder = self.folder / name
        folder.mkdir()
        for file in ("tokenizer.model", "tokenizer_config.json"):
            shutil.copy(self.tiny / file, folder)
        settings = json.loads((self.tiny / "config.json").read_text()) | (config or {})
        settings = {k: v for k, v in settings.items() if v is not None}
        (folder / "config.json").write_text(json.dumps(settings))
        write_safetensors(folder / "model.safetensors", self.tiny_tensors() if tensors is None else tensors)
        return folder

    def near(self, expected, found, relative_to_max, what):
        """All of found equals expected within a part of the largest expected value."""
        self.assertEqual(len(expected), len(found), what)
        scale = max(map(abs, expected), default=0)
        worst = max((abs(a - b) if a == a and b == b else math.inf for a, b in zip(expected, found)), default=0)
        self.assertLessEqual(worst, relative_to_max * scale, f"{what}: {worst} of {scale}")
