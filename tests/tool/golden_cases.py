"""The golden cases of the official code through `ask --requests --dump`; tokens; preprocessing."""

import json
import math

from support import ToolTest, read_safetensors, write_png

# goldens/README.md: what is demanded of fp32, relative to the largest value of a tensor.
EMBEDS, DECODER = 2e-5, 1e-4


class GoldenCases(ToolTest):
    def requests(self, case):
        """One request a prompt; a lone prompt takes all pictures, several take one each."""
        images, landmarks = case["images"] or [], case["landmarks"]
        out = []
        for i, prompt in enumerate(case["prompts"]):
            mine = slice(i, i + 1) if len(case["prompts"]) > 1 else slice(None)
            request = {"prompt": prompt, "landmarks": "none"}
            videos = [f for f in images[mine] if "/video_" in f]
            request["images"] = [str(self.goldens / f) for f in images[mine] if f not in videos]
            if videos:
                request["video"] = str(self.goldens / videos[0])
            if landmarks:
                request["landmarks"] = [str(self.goldens / f) for f in landmarks[mine]]
            out.append(request)
        return out

    def ask(self, name, checkpoint, *options):
        case = json.loads((self.goldens / "model_tiny" / "cases" / f"{name}.json").read_text())
        requests = self.write(f"{name}.json", self.requests(case))
        dump = self.folder / "dump.safetensors"
        answers = self.json(
            "ask", "--model", checkpoint, "--requests", requests, "--dump", dump, "--max-new-tokens", 32, *options
        )
        return case, answers, read_safetensors(dump)

    def check(self, name, checkpoint, isa):
        case, answers, dump = self.ask(name, checkpoint, "--isa", isa)
        golden = read_safetensors(self.goldens / "model_tiny" / "cases" / f"{name}.safetensors")
        self.assertEqual(len(case["prompts"]), len(answers))
        for i, answer in enumerate(answers):
            with self.subTest(case=name, checkpoint=checkpoint.name, isa=isa, request=i):
                self.assertEqual(bool(case["landmarks"]), answer["landmarks_used"])
                self.assertEqual(
                    ("cpu", "f32", case["prompts"][i]), (answer["device"], answer["precision"], answer["prompt"])
                )
                if isa != "auto":
                    self.assertEqual(isa, answer["isa"])
                mine = {k.split(".", 1)[1]: t for k, t in dump.items() if k.startswith(f"{i}.")}
                self.check_ids(golden, i, mine, answer, case)
                self.check_decoder(golden, i, mine, case)
                self.check_pictures(golden, i, mine, case)

    def check_ids(self, golden, i, mine, answer, case):
        expected = list(golden["input_ids"].row(i))
        if "attention_mask" in golden:
            expected = [id for id, kept in zip(expected, golden["attention_mask"].row(i)) if kept]
        self.assertEqual(expected, list(mine["input_ids"].flat()))
        self.assertEqual(answer["generated_ids"], list(mine["generated_ids"].flat()))
        self.assertEqual(32, len(answer["generated_ids"]))
        if "generated_ids" in golden:
            self.assertEqual(list(golden["generated_ids"].row(i)), answer["generated_ids"])
            self.assertEqual(case["generated_text"][i].strip(), answer["answer"].strip())

    def check_decoder(self, golden, i, mine, case):
        if "attention_mask_expanded" in golden:
            rows = [t for t, kept in enumerate(golden["attention_mask_expanded"].row(i)) if kept]
        else:
            rows = list(range(golden["logits.max"].shape[1]))
        for name, width in (("inputs_embeds", 16), ("hidden_final", 16), ("logits", 32000)):
            self.assertEqual([len(rows), width], mine[name].shape, name)
        ours = {t: k for k, t in enumerate(rows)}  # golden position to position without padding

        def compare(name, found, limit):
            """found(k) is our row; the golden tensor may have every 16th position only."""
            stride = 1 if name in golden else 16
            theirs = golden.get(name) or golden.get(f"{name}.every16")
            if theirs is None:
                return
            expected, values = [], []
            for at in range(theirs.shape[1]):
                if at * stride in ours:
                    expected += theirs.row(i, at)
                    values += found(ours[at * stride])
            self.near(expected, values, limit, name)

        compare("inputs_embeds", lambda k: mine["inputs_embeds"].row(k), EMBEDS)
        compare("hidden_states.0", lambda k: mine["inputs_embeds"].row(k), EMBEDS)
        compare("hidden_final", lambda k: mine["hidden_final"].row(k), DECODER)
        columns = case["logits_columns"]
        compare("logits.columns", lambda k: (lambda row: [row[c] for c in columns])(mine["logits"].row(k)), DECODER)
        last = mine["logits"].row(len(rows) - 1)
        self.near(golden["logits.last"].row(i), last, DECODER, "logits.last")

        scale = max(map(abs, golden["logits.last"].row(i)))
        for t in rows[:: max(1, len(rows) // 60)] + rows[-1:]:  # a sample: 32000 columns a row
            row = mine["logits"].row(ours[t])
            top = max(row)
            expected = golden["logits.max"].row(i)[t]
            self.assertLessEqual(abs(top - expected), DECODER * scale)
            self.assertLessEqual(top - row[golden["logits.argmax"].row(i)[t]], 2 * DECODER * scale)
            total = math.log(math.fsum(math.exp(v - top) for v in row)) + top
            self.assertLessEqual(abs(total - golden["logits.logsumexp"].row(i)[t]), DECODER * scale)

    def check_pictures(self, golden, i, mine, case):
        files = (case["images"] or [])[i : i + 1] if len(case["prompts"]) > 1 else case["images"] or []
        video, n = any("/video_" in f for f in files), len(files)
        if not files:
            self.assertNotIn("pixels", mine)
            return
        shape = [3, 8, 224, 224] if video else [3, 224, 224] if n == 1 else [n, 3, 224, 224]
        self.assertEqual(shape, mine["pixels"].shape)
        expected = []
        for f in files:
            file, name = f.rsplit(":", 1)
            expected += read_safetensors(self.goldens / file)[name].flat()
        self.assertTrue(expected == list(mine["pixels"].flat()), "pixels are as they were given")
        count, tokens = (8, 257) if video else (n, 256)
        lead = [] if count == 1 else [count]
        self.assertEqual(lead + [tokens, 32], mine["vision_features"].shape)
        self.assertEqual(lead + [tokens, 16], mine["projected"].shape)
        self.assertEqual(lead + [tokens, 16], mine["visual_tokens"].shape)
        if not case["landmarks"]:
            self.assertTrue({"landmarks", "region_tokens", "region_attention"}.isdisjoint(mine))
            return
        self.assertEqual(lead + [9, 16], mine["region_tokens"].shape)
        attention = mine["region_attention"]
        self.assertEqual(lead + [8, tokens, 9], attention.shape)
        for first in range(0, math.prod(attention.shape), 9 * 131):
            self.assertAlmostEqual(1, sum(attention.part(first, 9)), delta=1e-5)  # a softmax over nine in fp32
        given = range(n) if len(case["prompts"]) == 1 else [i]
        expected = [v for k in given for v in golden[f"landmarks.{k}"].flat()]
        self.assertEqual(lead + [136], mine["landmarks"].shape)
        self.near(expected, mine["landmarks"].flat(), 1e-6, "landmarks")  # one rounding of x / 256

    def names(self):
        return sorted(f.stem for f in (self.goldens / "model_tiny" / "cases").glob("*.json"))

    def test_safetensors_at_the_best_instruction_set(self):
        self.assertGreaterEqual(len(self.names()), 9)
        for name in self.names():
            self.check(name, self.tiny, "auto")

    def test_torch_bin_on_the_portable_path(self):
        for name in self.names():
            self.check(name, self.tiny_bin, "portable")

    def test_both_formats_give_the_same_bits(self):
        first, second = (self.ask("image_landmarks", c)[2] for c in (self.tiny, self.tiny_bin))
        self.assertEqual(sorted(first), sorted(second))
        for name in first:
            self.assertTrue(bytes(first[name].data) == bytes(second[name].data), name)

    def test_bf16_is_near(self):
        """Products in bf16 have 8 bits: a loose bound that a wrong layer would not meet."""
        case, answers, dump = self.ask("image_landmarks", self.tiny, "--precision", "bf16")
        golden = read_safetensors(self.goldens / "model_tiny" / "cases" / "image_landmarks.safetensors")
        self.assertEqual("bf16", answers[0]["precision"])
        self.near(golden["hidden_final"].flat(), dump["0.hidden_final"].flat(), 0.15, "hidden_final in bf16")

    def test_threads_change_nothing(self):
        one, three = (self.ask("two_images_landmarks", self.tiny, "--threads", n)[2] for n in (1, 3))
        for name in one:
            self.assertTrue(bytes(one[name].data) == bytes(three[name].data), name)

    def test_a_batch_equals_its_requests_alone(self):
        case, together, dump = self.ask("batch2_right_padding", self.tiny)
        for i, request in enumerate(self.requests(case)):
            alone = self.folder / "alone.safetensors"
            file = self.write("alone.json", [request])
            answer = self.json("ask", "--model", self.tiny, "--requests", file, "--dump", alone, "--max-new-tokens", 32)
            self.assertEqual(together[i]["generated_ids"], answer[0]["generated_ids"])
            mine = read_safetensors(alone)
            for name, t in mine.items():
                self.assertTrue(bytes(t.data) == bytes(dump[f"{i}.{name[2:]}"].data), name)


class Tokens(ToolTest):
    def ids(self, *options):
        return self.json("tokenize", *options)["ids"]

    def test_vectors(self):
        vectors = json.loads((self.goldens / "tokenizer" / "vectors.json").read_text())
        texts = [(v["text"], v) for v in vectors["plain"]][::3] + [(v["prompt"], v) for v in vectors["image_prompts"]][
            ::2
        ]
        special = [(v["text"], v) for v in vectors["plain"] if v["ids_legacy_true"] != v["ids_legacy_false"]]
        self.assertGreater(len(special), 0)
        for text, v in texts + special:
            if "\0" in text or "<image>" in text and "text" in v:
                continue  # no command line can carry it; here <image> always is a slot
            given = [f"--text={text}"] if text else ["--text", ""]
            with self.subTest(text=text):
                self.assertEqual(v["ids_legacy_false"], self.ids("--model", self.tiny, *given))
                self.assertEqual(v["ids_legacy_true"], self.ids("--tokenizer", self.tiny / "tokenizer.model", *given))

    def test_plain_output_without_bos_and_back(self):
        self.assertEqual("1 15043\n", self.good("tokenize", "--model", self.tiny, "--text", "Hello"))
        self.assertEqual("15043\n", self.good("tokenize", "--model", self.tiny, "--text", "Hello", "--no-bos"))
        self.assertEqual("Hello\n", self.good("tokenize", "--model", self.tiny, "--ids", 15043))
        self.assertEqual({"text": "Hello"}, self.json("tokenize", "--model", self.tiny, "--ids", 15043))

    def test_half_a_character_is_shown_as_replaced(self):
        self.assertEqual({"text": "\ufffd"}, self.json("tokenize", "--model", self.tiny, "--ids", 0xE2 + 3))

    def test_bad_ids_and_folders(self):
        self.refused(["32000"], "tokenize", "--model", self.tiny, "--ids", 32000)
        self.refused(["-7"], "tokenize", "--model", self.tiny, "--ids=-7")
        self.refused(["--model", "--tokenizer"], "tokenize", "--text", "Hello")
        self.refused(["tokenizer.model"], "tokenize", "--model", self.folder, "--text", "Hello")


class Preprocess(ToolTest):
    ATOL = 1.5e-4  # goldens/README.md, normalised units

    def pixels(self, picture, *options):
        out = self.folder / "out.safetensors"
        self.good("preprocess", "--image", picture, "--out", out, *options)
        return read_safetensors(out)["pixel_values"]

    def picture(self, file, golden):
        """The golden's picture, or None where it is not here. A JPEG as the official decoder read it."""
        decoded = golden.get("rgb_decoded_by_PIL")
        if decoded is None:
            found = self.goldens / "preprocess" / json.loads(file.read_text())["origin"].split(",")[0].split(" ")[0]
            return found if found.is_file() else None
        out = self.folder / "decoded.png"
        write_png(out, decoded.shape[1], decoded.shape[0], bytes(decoded.data))
        return out

    def test_golden_pictures(self):
        seen = 0
        for file in sorted((self.goldens / "preprocess").glob("image_*.json")):
            golden = read_safetensors(file.with_suffix(".safetensors"))
            picture = self.picture(file, golden)
            if picture is None:
                continue
            seen += 1
            for padding, prefix in (("none", ""), ("square", "padded.")):
                found = self.pixels(picture, "--padding", padding)
                self.assertEqual([3, 224, 224], found.shape)
                for part, at in (("", range(224)), (".sub8", range(0, 224, 8)), (".patch_64", range(80, 144))):
                    theirs = golden.get(f"{prefix}pixel_values{part}")
                    if theirs is None:
                        continue
                    ours = [row[x] for c in range(3) for row in (found.row(c, y) for y in at) for x in at]
                    worst = max(abs(a - b) for a, b in zip(theirs.flat(), ours, strict=True))
                    self.assertLessEqual(worst, self.ATOL, f"{file.name}, {prefix}pixel_values{part}")
        self.assertGreaterEqual(seen, 7)

    def test_jpeg_orientation_and_side(self):
        picture = self.goldens / "preprocess" / "inputs" / "exif6_160x110.jpg"
        plain = self.pixels(picture, "--side", 64)
        self.assertEqual([3, 64, 64], plain.shape)
        turned = self.pixels(picture, "--side", 64, "--orientation", "exif")
        # Orientation 6 is a quarter turn clockwise; the crop of the middle turns with the picture.
        for c in range(3):
            for y in range(0, 64, 9):
                ours = [plain.row(c, 63 - x)[y] for x in range(64)]
                self.near(ours, turned.row(c, y), 1e-4, "turned")
