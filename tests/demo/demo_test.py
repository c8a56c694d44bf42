"""The demo, from outside: what a newcomer runs. usage: demo_test.py DEMO REPOSITORY TOOL ASK_A_PHOTO"""

import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unittest

DEMO, REPOSITORY, TOOL, ASK_A_PHOTO = (pathlib.Path(p).resolve() for p in sys.argv[1:5])


class Demo(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.out = pathlib.Path(temporary.name) / "pictures"

    def run_demo(self, *arguments):
        command = [DEMO, REPOSITORY / "examples" / "demo", self.out, *arguments]
        return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300)

    def good(self, *arguments):
        done = self.run_demo(*arguments)
        self.assertEqual(0, done.returncode, done.stdout[-1000:] + done.stderr)
        return done.stdout

    def answers(self, said):
        """Question, answer, tokens."""
        return re.findall(r"  Q  (.*)\n  A  (.*?)   \((\d+) tokens", said)

    def size_of(self, name):
        data = (self.out / name).read_bytes()
        self.assertEqual(b"\x89PNG\r\n\x1a\n", data[:8])
        return struct.unpack(">II", data[16:24])

    def test_photograph_and_clip(self):
        said = self.good()
        answers = self.answers(said)
        self.assertEqual(5 + 6, len(answers), said)
        for question, answer, tokens in answers:
            self.assertTrue(answer[0].isupper() and answer.endswith("."), f"{question} {answer}")
            self.assertLess(int(tokens), 100, "an answer that does not end")
        endings = re.findall(r'"(?:The expression is|This is|The face looks) \.\.\.":(.*)', said)
        self.assertEqual(6, len(endings))
        for line in endings:
            self.assertAlmostEqual(100, sum(map(float, re.findall(r"([0-9.]+) %", line))), delta=0.5)
        for word in ("trained on rendered faces only", "eight frames go through the video tower", "total", "--model DIR"):
            self.assertIn(word, said)
        for name in ("astronaut.png", "clip.png"):
            self.assertGreater(min(self.size_of(name)), 100)

    def test_the_tool_and_a_host_program_say_the_same(self):
        photo, model = (REPOSITORY / "examples" / "demo" / name for name in ("astronaut.jpg", "model"))
        for question, answer, _ in self.answers(self.good(photo)):
            asked = [TOOL, "ask", "--model", model, "--image", photo, "--question", question, "--json"]
            said = subprocess.run([str(a) for a in asked], capture_output=True, text=True, check=True).stdout
            self.assertEqual(answer, json.loads(said)["answer"])
            nets = REPOSITORY / "examples" / "facellava" / "nets"
            asked = [ASK_A_PHOTO, model, nets, photo, question]
            said = subprocess.run([str(a) for a in asked], capture_output=True, text=True, check=True).stdout
            self.assertRegex(said, r"^\d+, \d+: " + re.escape(answer) + "\n$")

    def test_fake(self):
        said = self.good("--fake")
        self.assertEqual(["Is this face real or fake?"] * 2, [a[0] for a in self.answers(said)])
        self.size_of("fake.png")

    def test_several_faces(self):
        said = self.good(REPOSITORY / "docs" / "demo_clip.png")  # eight frames, and more
        self.assertRegex(said, r"[0-9]+ faces found, the 3 largest are asked about")
        self.assertEqual(15, len(self.answers(said)))

    def test_no_face(self):
        blank = self.out.parent / "blank.ppm"
        blank.write_bytes(b"P6\n64 64\n255\n" + bytes([128]) * 64 * 64 * 3)
        self.assertIn("no face was found", self.good(blank))
        self.assertFalse(list(self.out.glob("*.png")))

    def test_refused(self):
        words = self.out.parent / "words.jpg"
        words.write_text("no picture")
        for arguments, word in (([words], "words.jpg"), (["nowhere.jpg"], "nowhere.jpg"), (["--model", "none"], "none")):
            done = self.run_demo(*arguments)
            self.assertEqual(1, done.returncode)
            self.assertIn(word, done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
