"""Video files: the same numbers as the released code's frames give; what is refused. Without FFmpeg: what to do."""

import json
import math

from support import ToolTest, read_safetensors, write_npy


class Videos(ToolTest):
    ATOL = 2.5e-4  # goldens/README.md, normalised units, for equal frames
    LEVELS = 2 / 255 / 0.26  # other builds of FFmpeg may differ by two levels

    def setUp(self):
        super().setUp()
        self.clip = self.goldens / "preprocess" / "inputs" / "face_256_24fps.mp4"
        self.landmarks = self.goldens / "landmarks" / "video_face_256_24fps.npy"
        self.videos = self.repository / "tests" / "assets" / "videos"
        self.question = ("--question", "What emotion is shown in the video?")
        done = self.call("preprocess", "--video", self.clip, "--out", self.folder / "probe.safetensors")
        self.decodes = b"no video decoder" not in done.stderr

    def test_without_a_decoder_the_tool_says_what_to_install(self):
        if self.decodes:
            self.skipTest("built with FFmpeg")
        said = self.refused([self.clip, "libavformat-dev", "safetensors"], "ask", "--model", self.tiny, "--video",
                            self.clip, "--landmarks", "none", *self.question)  # fmt: skip
        self.assertIn("no video decoder", said)

    def pixels(self, video, *options):
        out = self.folder / "out.safetensors"
        self.good("preprocess", "--video", video, "--out", out, *options)
        return read_safetensors(out)

    def test_pixel_values_of_clips(self):
        if not self.decodes:
            self.skipTest("no FFmpeg")
        for video, name, part, step in (
            (self.clip, "video_face_256_24fps", "pixel_values", 1),
            (self.videos / "single_face.mp4", "video_single_face_640x360", "pixel_values.sub8", 8),
        ):
            with self.subTest(video=video.name):
                golden = read_safetensors(self.goldens / "preprocess" / f"{name}.safetensors")
                found = self.pixels(video)
                self.assertEqual(list(golden["frame_indices"].flat()), list(found["frame_indices"].flat()))
                ours = found["pixel_values"]
                self.assertEqual([3, 8, 224, 224], ours.shape)
                values = [
                    v
                    for c in range(3)
                    for t in range(8)
                    for y in range(0, 224, step)
                    for v in ours.row(c, t, y)[::step]
                ]
                worst = max(abs(a - b) for a, b in zip(golden[part].flat(), values, strict=True))
                self.assertLessEqual(worst, self.ATOL + self.LEVELS)

    def ask(self, landmarks):
        dump = self.folder / "dump.safetensors"
        answer = self.json("ask", "--model", self.tiny, "--video", self.clip, "--landmarks", landmarks, *self.question,
                           "--dump", dump, "--max-new-tokens", 8)  # fmt: skip
        return answer, read_safetensors(dump)

    def test_a_clip_and_landmarks_of_all_its_frames_give_the_golden_logits(self):
        if not self.decodes:
            self.skipTest("no FFmpeg")
        for case, landmarks in (("video_landmarks", self.landmarks), ("video_no_landmarks", "none")):
            with self.subTest(case=case):
                golden = read_safetensors(self.goldens / "model_tiny" / "cases" / f"{case}.safetensors")
                prompt = json.loads((self.goldens / "model_tiny" / "cases" / f"{case}.json").read_text())["prompts"][0]
                answer, dump = self.ask(landmarks)
                self.assertEqual(prompt, answer["prompt"])
                self.assertEqual(landmarks != "none", answer["landmarks_used"])
                last = dump["0.logits"].row(dump["0.logits"].shape[0] - 1)
                given = read_safetensors(self.goldens / "preprocess" / "video_face_256_24fps.safetensors")
                ours, theirs = dump["0.pixels"].flat(), given["pixel_values"].flat()
                worst = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
                self.assertLessEqual(worst, self.ATOL + self.LEVELS)
                # Equal frames: what is demanded of fp32. Two levels in all pixels move logits by 1.5e-2 (measured).
                self.near(golden["logits.last"].row(0), last, 1e-4 if worst <= self.ATOL else 2e-2, "logits")
                if landmarks != "none":
                    self.near(golden["landmarks.0"].flat(), dump["0.landmarks"].flat(), 1e-6, "landmarks")

    def test_score_and_requests(self):
        if not self.decodes:
            self.skipTest("no FFmpeg")
        labels = self.json("score", "--model", self.tiny, "--video", self.clip, "--landmarks", "none", *self.question,
                           "--labels", "happy,sad")["labels"]  # fmt: skip
        self.assertAlmostEqual(1, math.fsum(label["probability"] for label in labels), delta=1e-5)
        request = {"question": "Who?", "video": str(self.clip), "landmarks": [str(self.landmarks)]}
        file = self.write("requests.json", [request])
        self.assertEqual(1, len(self.json("ask", "--model", self.tiny, "--requests", file, "--max-new-tokens", 2)))

    def test_options_of_preprocess(self):
        if not self.decodes:
            self.skipTest("no FFmpeg")
        found = self.pixels(self.videos / "grid_id2_swwp2s.mpg", "--frames", 3, "--side", 32)
        self.assertEqual([3, 3, 32, 32], found["pixel_values"].shape)
        self.assertEqual([0, 37, 74], list(found["frame_indices"].flat()))
        out = ("--out", self.folder / "o.safetensors")
        self.refused(["--image", "--video"], "preprocess", *out)
        self.refused(["--padding", "video"], "preprocess", "--video", self.clip, "--padding", "square", *out)
        self.refused(["--frames"], "preprocess", "--image", self.clip, "--frames", 3, *out)

    def test_what_is_refused(self):
        if not self.decodes:
            self.skipTest("no FFmpeg")
        ask = ("ask", "--model", self.tiny, *self.question, "--landmarks")
        for name, content, words in (
            ("text.mp4", "no video", []),
            ("empty.mp4", b"", []),
            ("half.mp4", self.clip.read_bytes()[:9000], []),
            ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1/a.ts\n", ["list"]),
        ):
            with self.subTest(file=name):
                self.refused([name, *words], *ask, "none", "--video", self.write(name, content))
        self.refused(["nowhere.mp4"], *ask, "none", "--video", "nowhere.mp4")
        for count in (7, 60, 62):  # the clip has 61 frames, of which 8 are looked at
            write_npy(self.folder / "points.npy", (count, 68, 2), [1.0] * (count * 136))
            self.refused(["points.npy", count], *ask, self.folder / "points.npy", "--video", self.clip)
        self.refused(["clip.mp4", "no tower for videos"], "ask", "--model", self.probe / "model", *self.question,
                     "--landmarks", "none", "--video", "clip.mp4")  # fmt: skip
