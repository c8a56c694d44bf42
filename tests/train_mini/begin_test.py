"""Weights to begin with: every tensor of train_mini_begin's folders against what it comes from.
usage: begin_test.py TOOL BEGIN REPOSITORY"""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

TOOL, BEGIN, REPOSITORY = (pathlib.Path(p).resolve() for p in sys.argv[1:4])
MINI = REPOSITORY / "examples" / "train_mini"
IMAGE, VIDEO = "model.image_tower.image_tower.", "model.video_tower.video_tower."


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True)


def tensors(folder):
    """Name: (type, shape, bytes)."""
    data = (folder / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    of = lambda t: data[8 + size + t["data_offsets"][0] : 8 + size + t["data_offsets"][1]]
    return {name: (t["dtype"], t["shape"], of(t)) for name, t in header.items()}


def floats(tensor):
    assert tensor[0] == "F32"
    return struct.unpack(f"<{len(tensor[2]) // 4}f", tensor[2])


class Begin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = pathlib.Path(cls.temporary.name)
        for seed in (1, 2):
            cls.random(cls.folder / f"random{seed}", seed)

    @staticmethod
    def random(to, seed, config="mini"):
        done = run(TOOL, "random", "--config", config, "--to", to, "--format", "f32", "--start", "scaled", "--seed", seed,
                   "--tokenizer", REPOSITORY / "examples" / "demo" / "model" / "tokenizer.model", "--settings",
                   MINI / "settings.json")
        assert done.returncode == 0, done.stderr

    def begin(self, *arguments):
        done = run(BEGIN, *arguments)
        self.assertEqual(0, done.returncode, done.stderr)

    def refused(self, word, *arguments):
        done = run(BEGIN, *arguments)
        self.assertEqual(1, done.returncode)
        self.assertIn(word, done.stderr)

    def test_video_tower_begins_as_the_image_tower(self):
        first, out = self.folder / "random1", self.folder / "video"
        self.begin("video", "--model", first, "--to", out)
        before, after = tensors(first), tensors(out)
        self.assertEqual(before.keys(), after.keys())
        silent = taken = 0
        for name, t in after.items():
            image = name.replace(VIDEO, IMAGE)
            if "temporal_attn.out_proj." in name:
                self.assertFalse(any(t[2]), name)
                silent += 1
            elif name.startswith(VIDEO) and image in before:
                self.assertEqual(before[image], t, name)
                taken += 1
            else:
                self.assertEqual(before[name], t, name)
        self.assertEqual(2 * 4, silent)  # weight and bias of four layers
        self.assertGreater(taken, 4 * 16)

    def test_towers_of_a_trained_model(self):
        first, second, out = self.folder / "random1", self.folder / "random2", self.folder / "towers"
        self.begin("towers", "--model", first, "--towers", second, "--to", out)
        weights, trained = tensors(first), tensors(second)
        for name, t in tensors(out).items():
            self.assertEqual((trained if name.startswith((IMAGE, VIDEO)) else weights)[name], t, name)
        self.refused("already holds a model", "towers", "--model", first, "--towers", second, "--to", out)
        self.random(self.folder / "probe", 1, "probe")
        self.refused("video_tower", "towers", "--model", first, "--towers", self.folder / "probe", "--to", self.folder / "no")
        self.assertFalse((self.folder / "no" / "config.json").exists())

    def test_landmarks_in_coordinates_of_their_own(self):
        """A layer of plain points p says what the layer that was drawn says of z = scale (p - mean)."""
        first, out, config = self.folder / "random1", self.folder / "landmarks", MINI / "runs" / "stage1.json"
        self.begin("landmarks", "--model", first, "--run", config, "--to", out)
        z = json.loads(config.read_text())["landmark_coordinates"]
        before, after = tensors(first), tensors(out)
        points = [m + 0.03 * ((7 * i) % 11 - 5) / 5 for i, m in enumerate(z["mean"])]
        for name in after:
            if "landmarks_projector" not in name:
                self.assertEqual(before[name], after[name], name)
        name = "model.global_landmarks_projector"
        w, b, v, c = (floats(t[name + end]) for t in (before, after) for end in (".weight", ".bias"))
        self.assertEqual(len(z["mean"]) * len(b), len(w))
        for row in range(len(b)):
            rows = slice(row * len(points), (row + 1) * len(points))
            moved = [z["scale"] * (p - m) for p, m in zip(points, z["mean"])]
            expected = sum(x * y for x, y in zip(w[rows], moved)) + b[row]
            found = sum(x * y for x, y in zip(v[rows], points)) + c[row]
            self.assertAlmostEqual(expected, found, delta=1e-4)  # fp32 sums of 136 terms near 1
        plain = self.folder / "plain.json"
        plain.write_text(json.dumps({"stage": "stage1", "model": "m", "data": "d", "output": "o", "steps": 1}))
        self.refused("landmark_coordinates", "landmarks", "--model", first, "--run", plain, "--to", self.folder / "no")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
