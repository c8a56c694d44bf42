"""facellava faces, and questions about every face of a photograph and every person of a video."""

import math
import struct

from support import ToolTest, read_png


def read_npy(path):
    """Shape and values of a float32 array, as the tool writes it."""
    whole = path.read_bytes()
    length = int.from_bytes(whole[8:10], "little")
    header = whole[10:10 + length].decode()
    shape = tuple(int(n) for n in header.split("(")[1].split(")")[0].split(",") if n.strip())
    return shape, struct.unpack(f"<{(len(whole) - 10 - length) // 4}f", whole[10 + length:])


class Faces(ToolTest):
    def setUp(self):
        super().setUp()
        self.astronaut = self.repository / "tests/assets/astronaut.png"
        self.blank = self.folder / "blank.ppm"
        self.blank.write_bytes(b"P6 64 48 255\n" + bytes([90, 120, 60]) * (64 * 48))

    def test_json(self):
        found = self.json("faces", "--image", self.astronaut)
        self.assertEqual({"width": 512, "height": 512}, found["image"])
        [face] = found["faces"]
        self.assertAlmostEqual(0.9217, face["score"], 3)
        self.assertEqual([177, 82, 95, 95], [int(v) for v in face["box"]])
        self.assertEqual([6, 68, 6], [len(face[k]) for k in ("keypoints", "landmarks", "crop")])
        x, y, width, height = face["box"]
        scale_x, _, shift_x, _, scale_y, shift_y = face["crop"]
        inside = [(a, b) for a, b in face["landmarks"] if x <= a <= x + width and y <= b <= y + 1.1 * height]
        self.assertGreater(len(inside), 60)
        self.assertAlmostEqual(256 / round(width), scale_x, 3)
        self.assertAlmostEqual(0, scale_x * round(x) + shift_x, delta=3)
        self.assertAlmostEqual(0, scale_y * round(y) + shift_y, delta=3)

    def test_pictures_that_are_written(self):
        drawn, crops = self.folder / "drawn.png", self.folder / "crops"
        text = self.good("faces", "--image", self.astronaut, "--draw", drawn, "--crops", crops)
        self.assertIn("1 face\n", text)
        self.assertEqual(b"\x89PNG", drawn.read_bytes()[:4])
        self.assertEqual(["astronaut_0.png"], [f.name for f in crops.iterdir()])
        size = (crops / "astronaut_0.png").read_bytes()[16:24]
        self.assertEqual([256, 256], [int.from_bytes(size[i:i + 4], "big") for i in (0, 4)])

    def test_no_face_is_no_error(self):
        self.assertEqual([], self.json("faces", "--image", self.blank)["faces"])
        self.refused(["exactly one face", "found 0"], "faces", "--image", self.blank, "--crop", "reference")

    def test_bad_input(self):
        self.refused(["nowhere.png"], "faces", "--image", self.folder / "nowhere.png")
        self.refused(["face_detector.tflite"], "faces", "--image", self.astronaut, "--nets", self.folder)
        (self.folder / "face_detector.tflite").write_bytes(b"no net")
        self.refused(["TFL3"], "faces", "--image", self.astronaut, "--nets", self.folder)

    def test_questions_about_faces(self):
        probe = ("--model", self.probe / "model")
        question = ("--question", "What emotion does this face show?")
        found = self.json("ask", *probe, "--image", self.astronaut, *question)
        self.assertEqual([177, 82, 95, 95], [int(v) for v in found["face"]["box"]])
        self.assertTrue(found["landmarks_used"])
        same = self.json("ask", *probe, "--image", self.astronaut, *question, "--landmarks", "auto")
        self.assertEqual(found["generated_ids"], same["generated_ids"])
        scored = self.json("score", *probe, "--image", self.astronaut, *question, "--labels", "happy,sad")
        self.assertEqual(2, len(scored["labels"]))
        self.assertIn("face", scored)
        self.refused(["found no face", "--landmarks none"], "ask", *probe, "--image", self.blank, *question)
        self.refused(["one picture"], "ask", *probe, *question, "--landmarks", "auto")

    def test_nets(self):
        mesh = self.json("faces", "--image", self.astronaut, "--landmark-net", "mesh")["faces"][0]
        direct = self.json("faces", "--image", self.astronaut)["faces"][0]
        self.assertEqual(mesh["box"], direct["box"])
        worst = max(math.dist(a, b) for a, b in zip(mesh["landmarks"], direct["landmarks"], strict=True))
        self.assertLess(0, worst)
        self.assertLess(worst, mesh["box"][2] / 5)  # two nets, one face
        [far] = self.json("faces", "--image", self.astronaut, "--range", "full")["faces"]
        self.assertNotEqual(far["box"], direct["box"])
        self.refused(["short", "full"], "faces", "--image", self.astronaut, "--range", "wide")

    def test_landmarks_that_are_written(self):
        out = self.folder / "points.npy"
        self.good("faces", "--image", self.astronaut, "--landmarks", out)
        shape, values = read_npy(out)
        [face] = self.json("faces", "--image", self.astronaut)["faces"]
        self.assertEqual((68, 2), shape)
        for a, b in zip(values, [v for point in face["landmarks"] for v in point], strict=True):
            self.assertAlmostEqual(a, b, 3)
        self.refused(["one face", "found 0"], "faces", "--image", self.blank, "--landmarks", out)

    def test_attention_is_drawn(self):
        probe = ("--model", self.probe / "model")
        question = ("--question", "What emotion does this face show?")
        out = self.folder / "attention.png"
        self.good("ask", *probe, "--image", self.astronaut, *question, "--attention", out)
        width, height, _ = read_png(out)
        self.assertGreater(width, 3 * 224)
        self.assertGreater(height, 3 * 224)
        self.refused(["--attention", "landmarks"], "ask", *probe, "--image", self.astronaut, *question, "--landmarks",
                     "none", "--attention", out)  # fmt: skip
        self.refused(["--attention", "folder"], "ask", *probe, "--image", self.astronaut, *question, "--attention",
                     self.folder / "nowhere" / "a.png")  # fmt: skip

    def test_two_faces_two_answers(self):
        whole, _, pixels = read_png(self.astronaut)
        left, top, side = 96, 20, 256  # the detector wants a face of a tenth of the picture
        rows = [pixels[3 * (whole * y + left):3 * (whole * y + left + side)] for y in range(top, top + side)]
        both = self.folder / "both.ppm"
        both.write_bytes(b"P6 %d %d 255\n" % (2 * side, side) + b"".join(row + row for row in rows))
        answers = self.json("ask", "--model", self.probe / "model", "--image", both, "--question",
                            "What emotion does this face show?")
        self.assertEqual(2, len(answers))
        self.assertEqual([0, 1], sorted(int(a["face"]["box"][0] > side) for a in answers))
        self.assertEqual(answers[0]["answer"], answers[1]["answer"])
        self.refused(["exactly one face", "found 2"], "faces", "--image", both, "--crop", "reference")


class FacesOfVideos(ToolTest):
    def setUp(self):
        super().setUp()
        self.clip = self.repository / "tests/assets/videos/single_face.mp4"
        done = self.call("preprocess", "--video", self.clip, "--out", self.folder / "probe.safetensors")
        if b"no video decoder" in done.stderr:
            self.skipTest("no FFmpeg")

    def test_one_person(self):
        points, sheet, crops = self.folder / "points.npy", self.folder / "sheet.png", self.folder / "crops"
        found = self.json("faces", "--video", self.clip, "--landmarks", points, "--draw", sheet, "--crops", crops)
        self.assertEqual({"frames": 72, "width": 640, "height": 360}, {k: found["video"][k] for k in
                         ("frames", "width", "height")})  # fmt: skip
        [track] = found["tracks"]
        self.assertEqual((72, []), (track["frames"], track["gaps"]))
        self.assertEqual(list(range(72)), [f["index"] for f in found["frames"]])
        times = [f["seconds"] for f in found["frames"]]
        self.assertEqual(sorted(set(times)), times)
        for frame in found["frames"]:
            [face] = frame["faces"]
            self.assertEqual(0, face["track"])
            self.assertEqual(found["frames"][0]["faces"][0]["crop"], face["crop"])  # one square for the clip
        self.assertEqual((72, 68, 2), read_npy(points)[0])
        self.assertEqual((4 * 640, 2 * 360), read_png(sheet)[:2])
        self.assertEqual(8, len(list(crops.iterdir())))

    def test_smoothing_lessens_jitter(self):
        def jitter(*options):
            out = self.folder / "points.npy"
            self.good("faces", "--video", self.clip, "--landmarks", out, *options)
            v = read_npy(out)[1]
            return sum(abs(v[i - 136] - 2 * v[i] + v[i + 136]) for i in range(136, len(v) - 136))

        self.assertLess(jitter(), 0.7 * jitter("--smoothing", "none"))

    def test_nobody(self):
        empty = self.repository / "tests/media_video/data/odd.webm"
        found = self.json("faces", "--video", empty)
        self.assertEqual([], found["tracks"])
        self.assertTrue(all(f["faces"] == [] for f in found["frames"]))
        self.refused(["found no face"], "faces", "--video", empty, "--landmarks", self.folder / "points.npy")
        self.refused(["found no face", "--landmarks none"], "ask", "--model", self.tiny, "--video", empty, "--question",
                     "Who?", "--landmarks", "auto")  # fmt: skip
        self.refused(["either --image or --video"], "faces")

    def test_question_about_a_person(self):
        answer = self.json("ask", "--model", self.tiny, "--video", self.clip, "--question", "What emotion?",
                           "--max-new-tokens", 4)  # fmt: skip
        self.assertTrue(answer["landmarks_used"])
        x, y, width, height = answer["face"]["box"]
        self.assertEqual(width, height)
        self.assertTrue(0 < x < 640 and 0 < y < 360)
        self.assertNotIn("gaps", answer)
