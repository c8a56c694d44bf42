"""Questions that must be refused, each with one message that names what and where; odd pictures that must work."""

import struct

from support import Tensor, ToolTest, floats, write_npy, write_png, write_pts, write_safetensors


class BadRequests(ToolTest):
    """The probe's model, asked wrongly."""

    def setUp(self):
        super().setUp()
        self.model = ("--model", self.probe / "model")
        self.face = self.probe / "faces" / "face_a.png"
        self.points = self.face.with_suffix(".json")
        self.good_request = {
            "question": "Describe this face.",
            "images": [str(self.face)],
            "landmarks": [str(self.points)],
        }

    def refuses(self, *options, words=()):
        return self.refused(words, "ask", *self.model, *options)

    def refuses_requests(self, content, *words):
        file = self.write("requests.json", content)
        dump = self.folder / "dump.safetensors"
        dump.unlink(missing_ok=True)
        said = self.refused(words, "ask", *self.model, "--requests", file, "--dump", dump, "--json")
        self.assertFalse(dump.exists())
        return said

    def test_the_good_request_is_good(self):
        file = self.write("requests.json", [self.good_request])
        self.assertEqual(1, len(self.json("ask", *self.model, "--requests", file)))

    def test_requests_that_are_none(self):
        file = "requests.json"
        self.refuses_requests({}, file, "array")
        self.refuses_requests([], file, "empty")
        self.refuses_requests("[{", file)
        self.refuses_requests("", file)
        self.refuses_requests([3], file, "request 0", "number")
        self.refuses_requests([self.good_request, []], file, "request 1")
        self.refuses_requests([{}], file, "request 0", "prompt", "question")
        self.refuses_requests([self.good_request | {"prompt": "x"}], file, "prompt", "question")
        self.refuses_requests([self.good_request | {"image": "x"}], file, "request 0", '"image"')
        self.refuses_requests([self.good_request | {"images": "x"}], file, "images")
        self.refuses_requests([self.good_request | {"question": 4}], file, "question")
        self.refuses_requests([self.good_request | {"template": "other"}], "other")
        self.refuses_requests("[" * 100000, file)
        self.refuses_requests('[{"question": "a", "question": "b"}]', file, "twice")

    def test_landmarks_of_requests(self):
        two = dict(self.good_request)
        for bad, words in (
            ("all", ['"landmarks"']),
            (5, ['"landmarks"']),
            ([5], ['"landmarks"']),
            ({"a": str(self.points)}, ['"landmarks"']),
            ([], ["none"]),
            (None, ["none"]),
            ([None], ["none"]),
            ([str(self.points)] * 2, ["1", "2"]),
        ):
            with self.subTest(landmarks=bad):
                self.refuses_requests([self.good_request | {"landmarks": bad}], *words)
        for part in ("none", [None], None):
            with self.subTest(other=part):
                self.refuses_requests([two, two | {"landmarks": part}], "landmarks")
                self.refuses_requests([two | {"landmarks": part}, two], "landmarks")
        pair = {"prompt": "<image> <image> hello", "images": [str(self.face)] * 2}
        self.refuses_requests([pair | {"landmarks": [str(self.points), None]}], "landmarks", "1 of", "2")
        self.refuses_requests([pair | {"landmarks": [str(self.points)]}], "landmarks")

    def test_landmarks_on_the_command_line(self):
        image = ("--image", self.face, "--question", "?")
        self.refuses(*image, *image[:2], words=["--landmarks", "auto"])
        self.refuses(*image, "--landmarks", "nowhere.npy", words=["nowhere.npy"])
        self.refuses(*image, "--landmarks", self.points, self.points, words=["landmarks", "1", "2"])
        self.refuses("--question", "?", "--landmarks", self.points, words=["landmarks"])
        two = ("--image", self.face, "--image", self.face, "--question", "?")
        self.refuses(*two, "--landmarks", self.points, "--landmarks", "none", words=["landmarks for 1 of"])
        both = self.json("ask", *self.model, *two, "--landmarks", "none", "--landmarks", "none", "--max-new-tokens", 1)
        self.assertFalse(both["landmarks_used"])

    def test_landmark_files(self):
        points = self.landmarks_of("face_a.png")

        def refuses(file, *words):
            self.refuses("--image", self.face, "--question", "?", "--landmarks", file, words=[file, *words])

        for count, layout in ((5, "detector"), (67, "67"), (98, "WFLW"), (106, "JD-landmark")):
            many = (points * 8)[:count]
            with self.subTest(points=count):
                refuses(self.write("n.json", many), "68", str(count), layout)
                write_npy(self.folder / "n.npy", (count, 2), [v for p in many for v in p])
                refuses(self.folder / "n.npy", "68", str(count), layout)
                write_pts(self.folder / "n.pts", many)
                refuses(self.folder / "n.pts", "68", str(count), layout)
        nan = [v for p in points for v in p]
        nan[41] = float("nan")
        write_npy(self.folder / "nan.npy", (68, 2), nan)
        self.refuses(
            "--image", self.face, "--question", "?", "--landmarks", self.folder / "nan.npy", words=["20", "nan"]
        )
        refuses(self.write("nan.json", nan))
        refuses(self.write("cut.pts", "version: 1\nn_points: 68\n{\n1 2\n"), "end of the file")
        refuses(self.write("cut.npy", (self.folder / "nan.npy").read_bytes()[:200]))
        refuses(self.write("object.json", {"points": points}), "landmarks")
        refuses(self.write("points.txt", "1 2"), ".npy")
        write_npy(self.folder / "two.npy", (2, 68, 2), [0.5] * 272)
        refuses(self.folder / "two.npy", "1", "2")

    def test_slots_and_pictures(self):
        none = ("--landmarks", "none")
        self.refuses("--prompt", "<image> <image> hi", "--image", self.face, *none, words=["2 places", "1 picture"])
        self.refuses("--prompt", "hi", "--image", self.face, *none, words=["0 places", "1 picture"])
        self.refuses("--prompt", "<image> hi", words=["1 place", "0 picture"])
        self.refuses("--image", "nowhere.png", "--question", "?", *none, words=["nowhere.png"])
        self.refuses("--image", self.points, "--question", "?", *none, words=[self.points])
        self.refuses(
            "--image", self.write("cut.png", self.face.read_bytes()[:500]), "--question", "?", *none, words=["cut.png"]
        )
        self.refuses("--video", "clip.mp4", "--question", "?", *none, words=["clip.mp4", "video"])
        self.refuses("--image", self.face, *none, words=["--question"])

    def test_tensors_as_pictures(self):
        side = 112
        path = self.folder / "t.safetensors"
        n = 3 * side * side
        write_safetensors(
            path,
            {
                "good": floats([0.5] * n, [3, side, side]),
                "long": floats([0.5] * n, [3, 2 * side, side // 2]),
                "flat": floats([0.5] * n, [n]),
                "four": floats([0.5] * 4 * side * side, [4, side, side]),
                "small": floats([0.5] * 3, [3, 1, 1]),
                "none": floats([], [3, 0, side]),
                "nan": floats([float("nan")] * n, [3, side, side]),
                "clip": floats([0.5] * 2 * n, [3, 2, side, side]),
                "frames": Tensor("U8", [8, 0, 0, 3], b""),
            },
        )
        ask = ("--landmarks", "none", "--question", "?", "--max-new-tokens", 1)
        self.good("ask", *self.model, "--image", f"{path}:good", *ask)
        for name in ("long", "flat", "four", "small", "none"):
            with self.subTest(tensor=name):
                self.refuses("--image", f"{path}:{name}", *ask, words=[path, name])
        self.refuses("--image", f"{path}:nan", *ask, words=["finite"])
        self.refuses("--image", f"{path}:absent", *ask, words=[path, "absent"])
        self.refuses("--image", f"{path}:", *ask, words=[path])
        for name in ("clip", "frames"):
            self.refuses("--video", f"{path}:{name}", *ask, words=["video"])

    def test_videos_of_another_shape(self):
        path = self.folder / "t.safetensors"
        zeros = lambda dtype, size, *shape: Tensor(dtype, shape, bytes(size))
        write_safetensors(
            path,
            {
                "four": zeros("F32", 4 * 3 * 4 * 224 * 224, 3, 4, 224, 224),
                "long": zeros("F32", 4 * 3 * 8 * 224 * 224, 3, 4, 448, 224),
                "frames": zeros("U8", 4 * 16 * 16 * 3, 4, 16, 16, 3),
                "empty": zeros("U8", 0, 8, 0, 16, 3),
            },
        )
        for name in ("four", "long", "frames", "empty"):
            with self.subTest(tensor=name):
                self.refused(
                    [path, name],
                    "ask",
                    "--model",
                    self.tiny,
                    "--video",
                    f"{path}:{name}",
                    "--landmarks",
                    "none",
                    "--question",
                    "?",
                )

    def test_context(self):
        long = "word " * 600  # the probe's context is 512
        self.refuses("--prompt", long, words=["512"])
        self.refuses("--prompt", "<image> " + "word " * 460, "--image", self.face, "--landmarks", "none", words=["512"])
        none = self.json("ask", *self.model, "--prompt", "hello", "--max-new-tokens", 0)
        self.assertEqual((none["answer"], none["generated_ids"], none["finish"]), ("", [], "length"))
        filled = self.json("ask", *self.model, "--prompt", "word " * 100, "--max-new-tokens", 1000)
        self.assertIn(filled["finish"], ("context", "eos"))
        self.refuses("--prompt", "", words=["--prompt"])

    def test_options(self):
        for option, value, *words in (
            ("--isa", "sse", "sse", "portable"),
            ("--config", "other", "other", "probe"),
            ("--precision", "int3", "int3", "bf16"),
            ("--temperature", "-1", "temperature"),
            ("--temperature", "nan", "temperature"),
            ("--temperature", "inf", "temperature"),
            ("--max-new-tokens", "-5", "--max-new-tokens"),
            ("--max-new-tokens", "many", "--max-new-tokens"),
            ("--max-new-tokens", "99999999999", "--max-new-tokens"),
            ("--top-p", "0", "top-p"),
            ("--top-p", "1.5", "top-p"),
            ("--top-k", "-1", "top-k"),
            ("--threads", "-1", "threads"),
            ("--threads", "100000", "threads"),
            ("--tower-heads", "-1", "tower-heads"),
            ("--template", "other", "other"),
            ("--missing", "eyes", "eyes"),
            ("--image-tower", "nowhere", "nowhere"),
            ("--tokenizer", "nowhere", "nowhere"),
            ("--question", "and this", "--question", "--prompt"),
            ("--other", "x", "--other"),
        ):
            with self.subTest(option=option, value=value):
                self.refuses("--prompt", "hello", option, value, words=words)
        self.refused(["--model"], "ask", "--prompt", "hello")
        self.refused(["subcommand"])
        self.refused(["subcommand"], "dance")

    def test_requests_and_a_question_are_not_both_taken(self):
        file = self.write("requests.json", [self.good_request])
        for option in (
            ("--question", "?"),
            ("--prompt", "hello"),
            ("--image", self.face),
            ("--landmarks", "none"),
            ("--template", "v1"),
        ):
            with self.subTest(option=option[0]):
                self.refuses("--requests", file, *option, words=["--requests", option[0]])

    def test_outputs_that_cannot_be_written(self):
        nowhere = self.folder / "nowhere" / "dump.safetensors"
        self.refuses("--prompt", "hello", "--dump", nowhere, words=[nowhere])
        self.refuses("--prompt", "hello", "--dump", self.folder, words=[self.folder])
        self.refused([nowhere], "preprocess", "--image", self.face, "--out", nowhere)
        self.assertEqual([], list(self.folder.iterdir()))

    def test_score(self):
        score = ("score", *self.model, "--prompt", "hello")
        self.refused(["label"], *score)
        self.refused(["label"], *score, "--labels", "")
        self.refused(["512"], *score, "--labels", "a," + "word " * 600)
        self.refused(["places"], "score", *self.model, "--prompt", "<image>", "--labels", "a,b")
        other = self.json(*score, "--labels", "\udcff,b")  # a byte that is no UTF-8
        self.assertEqual("\ufffd", other["labels"][0]["label"])


class OddPictures(ToolTest):
    """They are small, long or broken, and none of them may hurt."""

    def test_one_pixel_and_a_long_line(self):
        for width, height in ((1, 1), (20000, 1), (1, 20000)):
            with self.subTest(size=(width, height)):
                picture = self.folder / f"{width}x{height}.png"
                write_png(picture, width, height)
                said = self.good("preprocess", "--image", picture, "--out", self.folder / "out.safetensors")
                self.assertIn(f"{width} x {height}", said)
                answer = self.json(
                    "ask",
                    "--model",
                    self.tiny,
                    "--image",
                    picture,
                    "--landmarks",
                    "none",
                    "--question",
                    "?",
                    "--max-new-tokens",
                    2,
                )
                self.assertEqual(2, len(answer["generated_ids"]))
                self.good(
                    "preprocess", "--image", picture, "--out", self.folder / "square.safetensors", "--padding", "square"
                )

    def test_broken_pictures(self):
        whole = (self.probe / "faces" / "face_a.png").read_bytes()
        huge = bytearray(whole)
        huge[16:24] = struct.pack(">II", 1 << 30, 1 << 30)
        for name, content in (
            ("empty", b""),
            ("cut", whole[: len(whole) // 2]),
            ("head", whole[:20]),
            ("huge", bytes(huge)),
            ("text", b"no picture"),
        ):
            with self.subTest(picture=name):
                file = self.write(f"{name}.png", content)
                out = self.folder / "out.safetensors"
                self.refused([file], "preprocess", "--image", file, "--out", out)
                self.assertFalse(out.exists())
