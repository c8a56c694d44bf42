"""Checkpoints in other formats: convert, random, what is refused, and what a conversion that was cut off leaves."""

import json
import math

from support import ToolTest, read_safetensors


class Conversion(ToolTest):
    QUESTION = ("--question", "What emotion does this face show?")

    def setUp(self):
        super().setUp()
        self.picture = self.probe / "faces" / "astronaut.png"

    def answer(self, model, *options):
        return self.json(
            "ask", "--model", model, "--image", self.picture, "--landmarks", self.picture.with_suffix(".json"),
            *self.QUESTION, *options,
        )

    def test_every_format_answers_and_equals_the_conversion_at_load(self):
        before = self.answer(self.probe / "model")
        for format in ("f32", "f16", "bf16", "q8", "q4", "q4_1", "nf4"):
            with self.subTest(format=format):
                said = self.good("convert", "--model", self.probe / "model", "--to", format, "--format", format)
                self.assertIn("1 shards", said)
                folder = self.folder / format
                stored = self.answer(folder, "--precision", "auto" if format in ("q8", "q4") else "f32")
                self.assertTrue(stored["answer"].startswith("The "), stored["answer"])
                self.assertEqual(format if format in ("q8", "q4") else "f32", stored["precision"])
                if format in ("f32", "q8"):
                    self.assertEqual(before["generated_ids"], stored["generated_ids"])
                if format not in ("f32", "f16"):
                    loaded, again = (self.answer(m, "--precision", format) for m in (self.probe / "model", folder))
                    self.assertEqual(loaded["generated_ids"], again["generated_ids"])

    def test_a_converted_folder_is_whole(self):
        self.good("convert", "--model", self.tiny, "--to", "out", "--format", "q8", "--shard-gigabytes", "0.0005")
        self.assertGreater(len(list((self.folder / "out").glob("*.safetensors"))), 1)
        for name in ("tokenizer.model", "tokenizer_config.json", "model.safetensors.index.json"):
            self.assertTrue((self.folder / "out" / name).exists(), name)
        self.assertIn("tensors fit", self.good("inspect", "--model", "out", "--tower-heads", "4"))

    def test_refusals(self):
        model = self.probe / "model"
        self.refused(["another folder"], "convert", "--model", model, "--to", model)
        self.refused(["--format", "q5", "nf4"], "convert", "--model", model, "--to", "x", "--format", "q5")
        self.refused(["no-such"], "convert", "--model", "no-such", "--to", "x")
        self.refused(["--shard-gigabytes"], "convert", "--model", model, "--to", "x", "--shard-gigabytes", "0")
        self.good("convert", "--model", model, "--to", "done", "--format", "q8")
        self.refused(["already holds a model"], "convert", "--model", model, "--to", "done", "--format", "q4")

    def test_cut_off(self):
        """Without its config.json a folder is no model; the same conversion completes it, another one is refused."""
        self.good("convert", "--model", self.tiny, "--to", "out", "--format", "q8", "--shard-gigabytes", "0.0005")
        out = self.folder / "out"
        whole = {f.name: f.read_bytes() for f in out.iterdir()}
        (out / "config.json").unlink()
        (out / "model.safetensors.index.json").unlink()
        last = sorted(out.glob("*.safetensors"))[-1]
        last.unlink()
        (out / (last.name + ".partial-0")).write_bytes(b"half")
        self.refused(["config.json"], "inspect", "--model", "out")
        self.refused(
            ["not a part of this"],
            "convert", "--model", self.tiny, "--to", "out", "--format", "q4", "--shard-gigabytes", "0.0005",
        )
        self.good("convert", "--model", self.tiny, "--to", "out", "--format", "q8", "--shard-gigabytes", "0.0005")
        for name, content in whole.items():
            self.assertEqual(content, (out / name).read_bytes(), name)

    def test_random_weights_of_a_configuration(self):
        tokenizer = self.tiny / "tokenizer.model"
        said = self.good("random", "--config", "tiny", "--to", "r", "--shards", "2", "--tokenizer", tokenizer, "--seed", "7")
        self.assertIn("2 shards", said)
        self.assertIn("tensors fit", self.good("inspect", "--model", "r"))
        self.good("random", "--config", "tiny", "--to", "s", "--shards", "2", "--tokenizer", tokenizer, "--seed", "7")
        first, second = (sorted((self.folder / n).glob("*.safetensors")) for n in "rs")
        self.assertEqual([f.read_bytes() for f in first], [f.read_bytes() for f in second])
        tensors = read_safetensors(first[0])
        self.assertTrue(all(t.dtype == "BF16" for t in tensors.values()))
        self.good("random", "--config", "tiny", "--to", "f", "--format", "f32")
        for name, tensor in read_safetensors(self.folder / "f" / "model.safetensors").items():
            values = tensor.flat()
            if len(tensor.shape) == 1 and not name.endswith("class_embedding"):
                self.assertEqual({1.0 if name.endswith(".weight") else 0.0}, set(values), name)
            else:  # n numbers estimate a deviation within a part of 1 / sqrt(2 n); four times that
                deviation = (sum(v * v for v in values) / len(values)) ** 0.5
                self.assertLess(abs(deviation - 0.02), 0.08 / (2 * len(values)) ** 0.5, name)
                if len(tensor.shape) == 2 and tensor.shape[0] > 1:
                    self.assertNotEqual(list(tensor.row(0)[1:]), list(tensor.row(1)[:-1]), name)
        asked = self.json("ask", "--model", "r", "--prompt", "Hello", "--landmarks", "none", "--max-new-tokens", "3")
        self.assertEqual(3, len(asked["generated_ids"]))
        settings = self.folder / "settings.json"
        settings.write_text('{"facellava": {"crop": "aligned"}, "eos_token_id": 3}')
        self.good("random", "--config", "mini", "--to", "m", "--format", "f32", "--start", "scaled", "--settings", settings)
        config = json.loads((self.folder / "m" / "config.json").read_text())
        self.assertEqual((3, "aligned", 3), (config["eos_token_id"], *(config["facellava"][k] for k in ("crop", "tower_heads"))))
        tensors = read_safetensors(self.folder / "m" / "model.safetensors")
        image = "model.image_tower.image_tower."
        part = 8**-0.5  # of what a block adds: 1 / sqrt(2 layers)
        for name, wanted in ((image + "encoder.layers.1.mlp.fc1.weight", 0.8 / 192**0.5),
                             (image + "encoder.layers.1.mlp.fc2.weight", part * 0.8 / 768**0.5),
                             ("model.layers.0.self_attn.q_proj.weight", 0.8 / 192**0.5),
                             ("model.layers.0.self_attn.o_proj.weight", part * 0.8 / 192**0.5),
                             ("model.embed_tokens.weight", 1.1 / 192**0.5),
                             ("model.mm_projector.0.weight", 0.8 / 192**0.5),
                             ("model.mm_projector.2.weight", 1.6 / 192**0.5)):
            values = tensors[name].flat()
            self.assertAlmostEqual(wanted, (sum(v * v for v in values) / len(values)) ** 0.5, delta=wanted / 50)
        places = tensors[image + "embeddings.position_embedding.weight"]  # row 2: one patch to the right of the corner
        self.assertEqual({0.0}, set(places.row(0)))
        self.assertAlmostEqual(math.sin(1), places.row(2)[0], places=6)
        self.assertAlmostEqual(math.cos(0), places.row(2)[144], places=6)
        self.refused(["--config", "probe"], "random", "--config", "no-such", "--to", "x")
        self.refused(["already holds a model"], "random", "--config", "tiny", "--to", "r")


class Perplexity(ToolTest):
    def test_equals_the_logits_of_a_dump(self):
        text = self.write("text.txt", "Is the person smiling? The brows are raised.")
        found = self.json("perplexity", "--model", self.tiny, "--text", text)
        self.good(
            "ask", "--model", self.tiny, "--prompt", text.read_text(), "--landmarks", "none",
            "--max-new-tokens", "0", "--dump", "dump.safetensors",
        )
        dump = read_safetensors(self.folder / "dump.safetensors")
        ids, logits = dump["0.input_ids"].flat(), dump["0.logits"]
        total = 0
        for i in range(len(ids) - 1):
            row = logits.row(i)
            top = max(row)
            total += math.log(math.fsum(math.exp(v - top) for v in row)) + top - row[ids[i + 1]]
        self.assertEqual(len(ids) - 1, found["tokens"])
        self.assertAlmostEqual(total / (len(ids) - 1), found["nats_per_token"], delta=1e-4)
        self.assertAlmostEqual(math.exp(found["nats_per_token"]), found["perplexity"], delta=1e-3 * found["perplexity"])
        windows = self.json("perplexity", "--model", self.tiny, "--text", text, "--window", "4")
        self.assertEqual(len(ids) - -(-len(ids) // 4), windows["tokens"])

    def test_refusals(self):
        empty = self.write("empty.txt", "")
        self.refused(["empty.txt", "empty"], "perplexity", "--model", self.tiny, "--text", empty)
        self.refused(["no-such"], "perplexity", "--model", self.tiny, "--text", "no-such")
