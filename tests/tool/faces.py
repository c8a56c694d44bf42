"""facellava faces, and questions about every face of a photograph."""

from support import ToolTest, read_png


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
        demo = ("--model", self.repository / "examples/demo/model")
        question = ("--question", "What emotion does this face show?")
        found = self.json("ask", *demo, "--image", self.astronaut, *question)
        self.assertEqual([177, 82, 95, 95], [int(v) for v in found["face"]["box"]])
        self.assertTrue(found["landmarks_used"])
        same = self.json("ask", *demo, "--image", self.astronaut, *question, "--landmarks", "auto")
        self.assertEqual(found["generated_ids"], same["generated_ids"])
        scored = self.json("score", *demo, "--image", self.astronaut, *question, "--labels", "happy,sad")
        self.assertEqual(2, len(scored["labels"]))
        self.assertIn("face", scored)
        self.refused(["found no face", "--landmarks none"], "ask", *demo, "--image", self.blank, *question)
        self.refused(["one picture"], "ask", *demo, *question, "--landmarks", "auto")

    def test_two_faces_two_answers(self):
        whole, _, pixels = read_png(self.astronaut)
        left, top, side = 96, 20, 256  # the detector wants a face of a tenth of the picture
        rows = [pixels[3 * (whole * y + left):3 * (whole * y + left + side)] for y in range(top, top + side)]
        both = self.folder / "both.ppm"
        both.write_bytes(b"P6 %d %d 255\n" % (2 * side, side) + b"".join(row + row for row in rows))
        answers = self.json("ask", "--model", self.repository / "examples/demo/model", "--image", both, "--question",
                            "What emotion does this face show?")
        self.assertEqual(2, len(answers))
        self.assertEqual([0, 1], sorted(int(a["face"]["box"][0] > side) for a in answers))
        self.assertEqual(answers[0]["answer"], answers[1]["answer"])
        self.refused(["exactly one face", "found 2"], "faces", "--image", both, "--crop", "reference")
