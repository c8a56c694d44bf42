"""Training data: every malformed record by its line, and the labels of a sample."""

import json

from support import ToolTest, write_npy


class Data(ToolTest):
    def setUp(self):
        super().setUp()
        inputs, landmarks = self.goldens / "preprocess" / "inputs", self.goldens / "landmarks"
        self.points = landmarks / "image_face_a_256.npy"
        self.picture = {
            "id": "a",
            "image": str(inputs / "face_a_256.png"),
            "landmarks_2d": str(self.points),
            "conversations": self.talk("<image>\nHow old?", "About thirty."),
        }
        self.clip = {
            "id": "v",
            "video": str(inputs / "face_256_24fps.mp4"),
            "landmarks_2d": str(landmarks / "video_face_256_24fps.npy"),
            "conversations": self.talk("<video>\nEmotion?", "Neutral."),
        }
        self.frames = self.clip | {
            "video": str(self.goldens / "preprocess" / "video_face_256_24fps.safetensors") + ":frames_rgb"
        }

    @staticmethod
    def talk(question, answer):
        return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]

    def validate(self, records, *options):
        """Exit code and lines of what is printed; never anything on stderr."""
        file = self.write("data.json", records)
        done = self.call("data", "validate", file, "--model", self.tiny, *options)
        self.assertEqual(b"", done.stderr)
        return done.returncode, done.stdout.decode().splitlines()

    def faulty(self, record, field, *words, options=()):
        """One line for the second of two records, which names field and words."""
        code, lines = self.validate([self.picture | {"id": "good"}, record], *options)
        self.assertEqual((2, 2), (code, len(lines)), lines)
        self.assertTrue(lines[0].startswith("record 1"), lines[0])
        self.assertIn(f", {field}: expected ", lines[0])
        for word in (", found ", *words):
            self.assertIn(word, lines[0])
        self.assertIn("2 records, 1 of them faulty; 1 samples", lines[1])

    def test_good_data(self):
        text = {"id": 7, "conversations": self.talk("What is an action unit?", "A movement.")}
        code, lines = self.validate([self.picture, self.frames, text])
        self.assertEqual((0, 1), (code, len(lines)), lines)
        self.assertIn("3 records, 0 of them faulty; 3 samples", lines[0])

    def test_files(self):
        self.faulty(self.picture | {"image": "nowhere.png"}, "image", "nowhere.png")
        self.faulty(self.picture | {"image": str(self.write("broken.png", b"\x89PNG\r\n"))}, "image", "broken.png")
        self.faulty(self.picture | {"landmarks_2d": "nowhere.npy"}, "landmarks_2d", "nowhere.npy")
        write_npy(self.folder / "five.npy", (5, 2), [1.0] * 10)
        self.faulty(self.picture | {"landmarks_2d": "five.npy"}, "landmarks_2d", "68", "5", "five.npy")
        self.faulty(self.frames | {"landmarks_2d": str(self.points)}, "landmarks_2d", "8 frames", "found 1")
        self.faulty({k: v for k, v in self.picture.items() if k != "landmarks_2d"}, "landmarks_2d", "other records")

    def test_video_files(self):
        code, lines = self.validate([self.clip])
        if "no video decoder" in lines[0]:
            self.skipTest("no FFmpeg")
        self.assertEqual(0, code, lines)
        write_npy(self.folder / "sixty.npy", (60, 68, 2), [1.0] * 60 * 136)
        self.faulty(self.clip | {"landmarks_2d": "sixty.npy"}, "landmarks_2d", "61", "60", "frames")

    def test_records(self):
        self.faulty(5, "record", "an object", "number")
        self.faulty(self.picture | {"face_mask": "m.npy"}, "face_mask", "landmarks_2d")
        self.faulty(self.picture | {"id": [1]}, "id", "integer", "array")
        self.faulty(self.picture | {"video": "v.mp4"}, "video", "both")

    def test_conversations(self):
        human, gpt = self.picture["conversations"]

        def with_turns(*turns):
            return self.picture | {"conversations": list(turns)}

        self.faulty(self.picture | {"conversations": None}, "conversations", "none")
        self.faulty(with_turns(gpt, human, gpt), "conversations[0].from", "human first")
        self.faulty(with_turns(human, gpt, gpt), "conversations[2].from", "in a row")
        self.faulty(with_turns(human, gpt | {"value": ""}), "conversations[1].value", "an answer")
        self.faulty(with_turns(human, gpt | {"from": "bot"}), "conversations[1].from", "bot")
        self.faulty(with_turns(human, gpt | {"weight": 1}), "conversations[1].weight")
        self.faulty(with_turns({"from": "human", "value": "Age?"}, gpt), "conversations", "1 <image> for 1 image")
        long = with_turns(human, gpt | {"value": "word " * 100})
        self.faulty(long, "conversations", "at most 320 tokens", options=("--context", 320))

    def test_samples_that_the_reference_drops(self):
        dropped = self.picture | {"conversations": self.talk("<image>\nSay the end token.", "It is </s> indeed.")}
        self.faulty(dropped, "conversations", "an answer to learn", "53 tokens of 57", "corrected")
        self.assertEqual(0, self.validate([dropped], "--masks", "corrected")[0])

    def test_all_faults_are_found(self):
        bad = self.picture | {"image": "nowhere.png", "landmarks_2d": 5, "more": 1}
        code, lines = self.validate([bad, self.picture | {"id": "b"}, self.picture])
        self.assertEqual((2, 5), (code, len(lines)), lines)
        self.assertTrue(lines[3].startswith('warning: record 2 (id "a"), id: '), lines)
        self.assertEqual((2, 3), (code, len(self.validate([bad], "--most-faults", 1)[1])))
        done = self.call("data", "validate", self.write("data.json", [bad]), "--model", self.tiny, "--json")
        report = json.loads(done.stdout)
        self.assertEqual((2, 1, 0), (done.returncode, report["faulty_records"], report["good_samples"]))
        self.assertEqual({"more", "image", "landmarks_2d"}, {fault["field"] for fault in report["faults"]})

    def test_no_data(self):
        def refused(content, *words):
            file = self.write("data.json", content)
            self.refused(["data.json", *words], "data", "validate", file, "--model", self.tiny)

        refused([], "an empty one")
        refused({}, "object")
        refused("[{", "JSON")
        refused('[{"id": "a", "id": "b"}]', "twice")
        self.refused(["nowhere.json"], "data", "validate", "nowhere.json", "--model", self.tiny)
        self.refused(["nowhere"], "data", "validate", self.write("data.json", [self.picture]), "--model", "nowhere")

    def test_show_gives_the_golden_labels(self):
        cases = json.loads((self.goldens / "train_step" / "labels.json").read_text())["cases"]
        golden = {case["name"]: case for case in cases}
        shown = ("image_single", "image_multi_turn", "unicode")
        records = [self.picture | {"conversations": golden[name]["conversations"]} for name in shown]
        file = self.write("data.json", records)
        for i, name in enumerate(shown):
            expected = golden[name]["legacy_false"]
            expected = golden[name]["legacy_true"] if isinstance(expected, str) else expected
            found = self.json("data", "show", file, i, "--model", self.tiny)
            self.assertEqual(expected["input_ids"], found["ids"])
            self.assertEqual(expected["labels"], found["labels"])
            self.assertEqual(len(found["ids"]) - 1 + 256, found["rows"])

    def test_show_as_text(self):
        file = self.write("data.json", [self.picture])
        call = ("data", "show", file, 0, "--model", self.tiny)
        plain, colored = self.good(*call), self.good(*call, "--color")
        self.assertIn("4 to learn", plain)
        self.assertNotIn("\033", plain)
        learned = [line for line in plain.splitlines() if line.split()[1:3] == ["2", "2"]]
        self.assertEqual(1, len(learned), plain)  # the token that ends the answer
        self.assertIn("\033[32m" + learned[0], colored)
        self.refused(["below 1", "found 1"], "data", "show", file, 1, "--model", self.tiny)
        broken = self.write("broken.json", [self.picture | {"more": 1}])
        self.refused(["record 0", "more"], "data", "show", broken, 0, "--model", self.tiny)
