#!/usr/bin/env python3
"""Folders that `facellava train` writes, in PyTorch and peft, and peft's in `facellava train`.
usage: interchange_test.py TOOL GOLDENS REPOSITORY [TEST...]     needs torch, transformers, peft, safetensors; else 77
"""

import json
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True  # leaves the source tree as it is
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tool"))

from support import ToolTest

try:
    import peft
    import torch
    from safetensors.torch import load_file, save_file
    from torch_model import FaceLlava, read_tensors
except ImportError as missing:
    print(f"the interchange with PyTorch is skipped, nothing was tested: {missing}")
    sys.exit(77)

# fp32 on both sides, in another order of sums: the released code differs from itself in fp64 by 7e-6 of the largest
# logit, and by 2e-6 in the loss.
LOGITS, LOSS = 1e-4, 2e-5
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Interchange(ToolTest):
    def setUp(self):
        super().setUp()
        torch.set_num_threads(2)
        torch.manual_seed(5)
        self.clip = str(self.goldens / "preprocess" / "video_face_256_24fps.safetensors") + ":frames_rgb"
        self.clip_points = str(self.goldens / "landmarks" / "video_face_256_24fps.npy")
        self.data = self.write("data.json", [self.record(f, t) for f, t in (("a", "Thirty."), ("b", "About forty."))])

    def face(self, name):
        return [str(self.goldens / "preprocess" / "inputs" / f"face_{name}_256.png"),
                str(self.goldens / "landmarks" / f"image_face_{name}_256.npy")]  # fmt: skip

    def record(self, face, answer):
        picture, points = self.face(face)
        turns = [{"from": "human", "value": "<image>\nHow old?"}, {"from": "gpt", "value": answer}]
        return {"image": picture, "landmarks_2d": points, "conversations": turns}

    def train(self, output="out", **changes):
        run = {"model": str(self.tiny_bin), "tower_heads": 4, "data": str(self.data), "batch_size": 2, "steps": 2,
               "output": str(self.folder / output), "learning_rate": 1e-2}  # fmt: skip
        done = self.call("train", "--config", self.write(output + ".json", run | changes), "--threads", "2", "--quiet")
        self.assertEqual(0, done.returncode, done.stderr)
        metrics = (self.folder / output / "metrics.jsonl").read_text().splitlines()
        return self.folder / output, [json.loads(line)["loss"] for line in metrics]

    def ask(self, model, *question):
        """What the tool computes for a question: ids, pixels and points as the model takes them, logits of all rows."""
        self.good("ask", "--model", model, *question, "--question", "How old?", "--max-new-tokens", "1", "--dump",
                  "dump.safetensors")  # fmt: skip
        dump = {name.removeprefix("0."): t for name, t in load_file(self.folder / "dump.safetensors").items()}
        pixels = dump.get("pixels")
        if pixels is not None:
            pixels = pixels[None] if pixels.ndim == 3 else pixels.transpose(0, 1)  # a clip: [3, frames, side, side]
        points = dump["landmarks"].reshape(-1, 136) if "landmarks" in dump else None
        return dump["input_ids"].tolist(), pixels, points, dump["logits"]

    def check_near(self, want, found, part, what):
        self.assertEqual(want.shape, found.shape, what)
        off = float((want - found).abs().max() / want.abs().max())
        print(f"{what}: off by {off:.1e} of the largest", flush=True)
        self.assertLess(off, part, what)

    def check_logits(self, model, folder, question, what, decoder=None):
        ids, pixels, points, logits = self.ask(folder, *question)
        self.check_near(model.logits(ids, pixels, points, decoder), logits, LOGITS, what)

    def questions(self):
        picture, points = self.face("a")
        return {"picture with landmarks": ("--image", picture, "--landmarks", points),
                "picture": ("--image", picture),
                "clip with landmarks": ("--video", self.clip, "--landmarks", self.clip_points),
                "text": ()}  # fmt: skip

    def test_a_trained_model_in_pytorch(self):
        out, _ = self.train(stage="stage2", export="both")
        for file in ("model.safetensors", "pytorch_model.bin"):
            model = FaceLlava.from_folder(out / "model", file)
            for name, question in self.questions().items():
                self.check_logits(model, out / "model", question, f"{file}, {name}")
        before = FaceLlava(self.begin(), self.settings(), 4)
        ids, pixels, points, logits = self.ask(out / "model", *self.questions()["picture with landmarks"])
        moved = (before.logits(ids, pixels, points) - logits).abs().max() / logits.abs().max()
        self.assertGreater(float(moved), 100 * LOGITS, "the two steps must show in the logits")

    def test_an_exported_adapter_in_peft(self):
        out, _ = self.train(stage="lora", export="safetensors", lora={"r": 4, "alpha": 8, "dropout": 0})
        rest = read_tensors(out / "adapter" / "non_lora_trainables.bin")
        whole = {name.removeprefix("base_model.model."): t for name, t in rest.items()}
        tensors = self.begin()
        self.assertLess(set(whole), set(tensors))
        model = FaceLlava(tensors | whole, self.settings(), 4)
        plain = self.ask(out / "model", *self.questions()["text"])
        without = model.logits(*plain[:3])
        decoder = peft.PeftModel.from_pretrained(model.decoder, out / "adapter").eval()
        self.assertEqual({"r": 4, "lora_alpha": 8}, {k: getattr(decoder.peft_config["default"], k)
                                                     for k in ("r", "lora_alpha")})  # fmt: skip
        for name, question in self.questions().items():
            self.check_logits(model, out / "model", question, f"adapter in peft, {name}", decoder)
        moved = (without - plain[3]).abs().max() / without.abs().max()
        self.assertGreater(float(moved), 100 * LOGITS, "the adapter must show in the logits")

    def test_an_adapter_of_peft_begins_a_run(self):
        model = FaceLlava(self.begin(), self.settings(), 4)
        options = peft.LoraConfig(r=6, lora_alpha=9, lora_dropout=0.0, target_modules=TARGETS, task_type="CAUSAL_LM")
        decoder = peft.get_peft_model(model.decoder, options).eval()
        for name, p in decoder.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(p, std=0.3)
        folder = self.folder / "of_peft"
        decoder.save_pretrained(folder)
        in_bin = self.folder / "of_peft_bin"
        in_bin.mkdir()
        torch.save(peft.get_peft_model_state_dict(decoder), in_bin / "adapter_model.bin")
        (in_bin / "adapter_config.json").write_text((folder / "adapter_config.json").read_text())

        losses, adapted = [], []
        for sample in range(2):
            shown = self.json("data", "show", self.data, sample, "--model", self.tiny_bin)
            _, pixels, points, _ = self.ask_begin(sample)
            losses.append(model.losses(shown["ids"], shown["labels"], pixels, points, decoder))
            adapted.append(self.without(decoder, model, shown, pixels, points))
        want = float(torch.cat(losses).mean())
        self.assertGreater(abs(want - float(torch.cat(adapted).mean())), 100 * LOSS)
        for begin in (folder, in_bin):
            out, found = self.train(begin.name + "_run", stage="lora", lora={"adapter": str(begin)}, steps=1)
            print(f"loss of a run that begins with {begin.name}: {found[0]:.7f}, in peft {want:.7f}")
            self.assertAlmostEqual(want, found[0], delta=LOSS)
            saved = json.loads((out / "adapter" / "adapter_config.json").read_text())
            self.assertEqual((6, 9), (saved["r"], saved["lora_alpha"]))

    def without(self, decoder, model, shown, pixels, points):
        with decoder.disable_adapter():
            return model.losses(shown["ids"], shown["labels"], pixels, points, decoder)

    def ask_begin(self, sample):
        picture, points = self.face("ab"[sample])
        return self.ask(self.tiny_bin, "--tower-heads", "4", "--image", picture, "--landmarks", points)

    def begin(self):
        """The tensors of the model that runs begin with."""
        tensors = {}
        for shard in sorted(self.tiny_bin.glob("*.bin")):
            tensors.update(read_tensors(shard))
        return {name: t for name, t in tensors.items() if not name.endswith(("inv_freq", "position_ids"))}

    def settings(self):
        return json.loads((self.tiny_bin / "config.json").read_text())


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    ToolTest.tool, ToolTest.goldens, ToolTest.repository = (pathlib.Path(a).resolve() for a in sys.argv[1:4])
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=1)
