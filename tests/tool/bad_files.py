"""Model folders that are broken in one place: each must be refused with one message that names what and where."""

import json
import pickle
import shutil
import struct
import zipfile

from support import Tensor, ToolTest


class BadFiles(ToolTest):
    """A model folder that is broken in one place."""

    ASK = ("--prompt", "hello", "--max-new-tokens", 2)

    def copy(self, source, name="model"):
        folder = self.folder / name
        shutil.copytree(source, folder)
        return folder

    def damage(self, path, change):
        content = bytearray(path.read_bytes())
        changed = change(content)  # new bytes, or nothing where it changed them in place
        path.write_bytes(content if changed is None else changed)

    def refuses(self, folder, *words):
        return self.refused(words, "ask", "--model", folder, *self.ASK)

    def test_safetensors(self):
        def put(at, value):
            def change(content):
                content[at : at + len(value)] = value

            return change

        damages = {
            "empty": lambda c: b"",
            "seven bytes": lambda c: c[:7],
            "half": lambda c: c[: len(c) // 2],
            "one byte short": lambda c: c[:-1],
            "one byte more": lambda c: c + b"x",
            "huge header": put(0, struct.pack("<Q", 1 << 62)),
            "negative header": put(0, struct.pack("<q", -1)),
            "no json": put(8, b"}"),
            "another type": lambda c: c.replace(b'"BF16"', b'"BF17"', 1),
            "a shape of other size": lambda c: c.replace(b"[16]", b"[17]", 1),
            "a huge shape": lambda c: (
                c.replace(b"[16,48]", b"[9e9]  ", 1) if b"[16,48]" in c else c.replace(b"[16]", b"[-9]", 1)
            ),
            "zeros": lambda c: bytes(len(c)),
        }
        for name, change in damages.items():
            with self.subTest(damage=name):
                folder = self.copy(self.tiny, name)
                self.damage(folder / "model-00002-of-00003.safetensors", change)
                self.refuses(folder, "model-00002-of-00003.safetensors")

    def test_missing_files(self):
        for file in ("config.json", "tokenizer.model", "model-00003-of-00003.safetensors"):
            with self.subTest(missing=file):
                folder = self.copy(self.tiny, f"without {file}")
                (folder / file).unlink()
                self.refuses(folder, file)
        self.refuses(self.folder / "nowhere", "nowhere")

    def test_zip(self):
        damages = {
            "empty": lambda c: b"",
            "half": lambda c: c[: len(c) // 2],
            "one byte short": lambda c: c[:-1],
            "no end record": lambda c: c[:-22] + bytes(22),
            "zeros": lambda c: bytes(len(c)),
            "central directory": lambda c: c[: c.rindex(b"PK\1\2")] + b"XXXX" + c[c.rindex(b"PK\1\2") + 4 :],
        }
        for name, change in damages.items():
            with self.subTest(damage=name):
                folder = self.copy(self.tiny_bin, name)
                self.damage(folder / "pytorch_model-00002-of-00003.bin", change)
                self.refuses(folder, "pytorch_model-00002-of-00003.bin")

    def with_pickle(self, name, content, method=zipfile.ZIP_STORED):
        folder = self.folder / name
        folder.mkdir()
        for file in ("config.json", "tokenizer.model", "tokenizer_config.json"):
            shutil.copy(self.tiny_bin / file, folder)
        with zipfile.ZipFile(folder / "pytorch_model.bin", "w", method) as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3\n")
        return folder

    def test_a_pickle_never_runs(self):
        witness = self.folder / "it_ran"

        class Run:
            def __reduce__(self):
                import os

                return os.system, (f"touch {witness}",)

        for protocol in (0, 1, 2, 4):
            with self.subTest(protocol=protocol):
                folder = self.with_pickle(f"hostile{protocol}", pickle.dumps({"w": Run()}, protocol))
                said = self.refuses(folder, "pytorch_model.bin")
                self.assertIn("system" if protocol == 2 else "protocol 2", said)
                self.assertFalse(witness.exists())
                self.refused(["pytorch_model.bin"], "inspect", "--model", folder)
                self.assertFalse(witness.exists())
        old = b"cos\nsystem\n(S'touch " + str(witness).encode() + b"'\ntR."
        self.refuses(self.with_pickle("text", old), "pytorch_model.bin")
        self.refuses(self.with_pickle("bare", b"\x80\x02" + old), "system")
        self.assertFalse(witness.exists())

    def test_broken_pickles(self):
        with zipfile.ZipFile(self.tiny_bin / "pytorch_model-00002-of-00003.bin") as archive:
            whole = archive.read(next(n for n in archive.namelist() if n.endswith("/data.pkl")))
        contents = {
            "empty": b"",
            "half": whole[: len(whole) // 2],
            "no stop": whole[:-1],
            "unknown opcode": b"\x80\x02\xff.",
            "pop of nothing": b"\x80\x020.",
            "a number": pickle.dumps(3, 2),
            "storages that are not there": whole,
            "deep": b"\x80\x02" + b"]" * 100000 + b"a" * 99999 + b".",
        }
        for name, content in contents.items():
            with self.subTest(pickle=name):
                self.refuses(self.with_pickle(name, content), "pytorch_model.bin")
        self.refuses(self.with_pickle("deflated", whole, zipfile.ZIP_DEFLATED), "pytorch_model.bin")

    def test_tokenizer(self):
        damages = {
            "empty": lambda c: b"",
            "half": lambda c: c[: len(c) // 2],
            "three bytes short": lambda c: c[:-3],
            "text": lambda c: b"hello, this is no model at all",
            "huge field": lambda c: b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + c,
        }
        for name, change in damages.items():
            with self.subTest(damage=name):
                folder = self.copy(self.tiny, name)
                self.damage(folder / "tokenizer.model", change)
                self.refuses(folder, "tokenizer.model")
                self.refused(
                    ["tokenizer.model"], "tokenize", "--tokenizer", folder / "tokenizer.model", "--text", "Hello"
                )

    def test_config(self):
        whole = (self.tiny / "config.json").read_text()
        for name, text in (("empty", ""), ("half", whole[: len(whole) // 2]), ("array", "[]"), ("deep", "[" * 9999)):
            with self.subTest(damage=name):
                folder = self.copy(self.tiny, name)
                (folder / "config.json").write_text(text)
                self.refuses(folder, "config.json")
        changes = {
            "hidden_size": [None, 0, -16, "sixteen", 1.5, 1 << 40],
            "vocab_size": [None, 0, 1 << 33],
            "num_attention_heads": [0, -1],
            "num_key_value_heads": [0, -2, "two"],
            "head_dim": [0, -8],
            "num_hidden_layers": [0],
            "max_position_embeddings": [0, -1, "many"],
            "rope_scaling": [{"type": "yarn", "factor": 2}, 7],
            "hidden_act": ["gelu"],
            "cross_attn_type": ["other"],
            "mm_vision_select_layer": [-9, 77, "last"],
            "mm_projector_type": ["linear"],
            "use_landmark_tokens": [True],
            "facellava": [3, {"prompt_template": "other"}, {"bos": "end"}, {"crop": "round"}, {"tower_heads": -4}],
        }
        for key, values in changes.items():
            for value in values:
                with self.subTest(key=key, value=value):
                    folder = self.tiny_copy(f"{key} {len(list(self.folder.iterdir()))}", config={key: value})
                    self.refuses(folder, folder)

    def test_an_absurd_context_costs_no_memory(self):
        folder = self.tiny_copy("context", config={"max_position_embeddings": 2147483647})
        self.refuses(folder, "max_position_embeddings")

    def test_index(self):
        index = json.loads((self.tiny / "model.safetensors.index.json").read_text())
        shards = {
            "a path": lambda m: m | {"model.norm.weight": "../model.safetensors"},
            "another shard": lambda m: m
            | {
                "model.norm.weight": (
                    "model-00002-of-00003.safetensors"
                    if m["model.norm.weight"] != "model-00002-of-00003.safetensors"
                    else "model-00001-of-00003.safetensors"
                )
            },
            "a number": lambda m: m | {"model.norm.weight": 3},
            "nothing": lambda m: {},
        }
        for name, change in shards.items():
            with self.subTest(index=name):
                folder = self.copy(self.tiny, name)
                (folder / "model.safetensors.index.json").write_text(
                    json.dumps(index | {"weight_map": change(index["weight_map"])})
                )
                self.refuses(folder, str(folder))

    def test_wrong_shapes(self):
        tensors = self.tiny_tensors()
        t = tensors["model.layers.0.self_attn.q_proj.weight"]
        tensors["model.layers.0.self_attn.q_proj.weight"] = Tensor(t.dtype, [8, 32], t.data)
        done = self.call("ask", "--model", self.tiny_copy("shape", tensors), *self.ASK)
        self.assertEqual(1, done.returncode)
        for word in (b"model.layers.0.self_attn.q_proj.weight", b"[16, 16]", b"[8, 32]"):
            self.assertIn(word, done.stderr)

    def test_weights_that_are_not_finite(self):
        for number, name in enumerate(
            ("model.layers.1.mlp.down_proj.weight", "model.norm.weight", "model.mm_projector.0.bias", "lm_head.weight")
        ):
            for value in (0x7FC0, 0x7F80):  # NaN and infinity in bf16
                with self.subTest(weight=name, value=hex(value)):
                    tensors = self.tiny_tensors()
                    values = tensors[name].flat()
                    values[len(values) // 2] = value
                    tensors[name] = Tensor("BF16", tensors[name].shape, values.tobytes())
                    folder = self.tiny_copy(f"nan{number}{value}", tensors)
                    picture = f"{self.goldens}/preprocess/image_face_a_256.safetensors:pixel_values"
                    self.refused(
                        [name, "is not finite"],
                        "ask",
                        "--model",
                        folder,
                        "--image",
                        picture,
                        "--landmarks",
                        "none",
                        "--question",
                        "?",
                    )
