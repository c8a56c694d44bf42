"""Training through the tool: released runs step for step, killed and resumed ones, what is refused, overfitting."""

import json
import random
import resource
import signal
import subprocess
import time
import xml.etree.ElementTree

from support import Tensor, ToolTest, floats, read_safetensors, write_safetensors


class Train(ToolTest):
    def setUp(self):
        super().setUp()
        self.released = self.goldens / "train_step"
        self.lines = ["--threads", "2"]

    def record(self, face, question, answer):
        return {
            "image": str(self.goldens / "preprocess" / "inputs" / f"face_{face}_256.png"),
            "landmarks_2d": str(self.goldens / "landmarks" / f"image_face_{face}_256.npy"),
            "conversations": [{"from": "human", "value": "<image>\n" + question}, {"from": "gpt", "value": answer}],
        }

    def config(self, name="run.json", **changes):
        run = {"model": str(self.tiny_bin), "tower_heads": 4, "output": str(self.folder / "out"), "batch_size": 2}
        if "data" not in changes:
            records = [self.record(f, q, "About thirty.") for f in "ab" for q in ("How old?", "Guess the age.")]
            run["data"] = str(self.write("data.json", records))
        return self.write(name, run | changes)

    def released_config(self, stage, **changes):
        """Five steps on the released run's samples, with the clip as the released code decoded it."""
        clip = str(self.goldens / "preprocess" / "video_face_256_24fps.safetensors") + ":frames_rgb"
        records = json.loads((self.released / "data.json").read_text())
        for r in records:
            r["landmarks_2d"] = str(self.goldens / r["landmarks_2d"].split("goldens/")[1])
            if "image" in r:
                r["image"] = str(self.goldens / r["image"].split("goldens/")[1])
            else:
                r["video"] = clip
        meta = json.loads((self.released / f"{stage}.json").read_text())
        return meta, self.config(
            data=str(self.write("released.json", records)),
            stage=stage,
            learning_rate=meta["official_arguments"]["learning_rate"],
            batches=meta["batches_as_sample_indices"],
            **changes,
        )

    def check_released(self, stage, **changes):
        meta, config = self.released_config(stage, **changes)
        done = self.call("train", "--config", config, "--dump-gradients", "gradients.safetensors", *self.lines)
        self.assertEqual(0, done.returncode, done.stderr)
        metrics = [json.loads(line) for line in (self.folder / "out" / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual([1, 2, 3, 4, 5], [m["step"] for m in metrics])
        for mine, want in zip(metrics, meta["steps"]):
            self.assertAlmostEqual(want["lr"], mine["learning_rate"], delta=1e-12)
            self.assertAlmostEqual(want["loss_fp64"], mine["loss"], delta=2e-5)
            self.assertAlmostEqual(want["grad_norm_fp64"], mine["grad_norm"], delta=1e-4 * want["grad_norm_fp64"])
        golden = read_safetensors(self.released / f"{stage}.safetensors")
        gradients = read_safetensors(self.folder / "gradients.safetensors")
        worst = largest = 0
        for name, tensor in golden.items():
            if not name.startswith("grad0.") or name.endswith(".rows"):
                continue
            mine = gradients[name.removeprefix("grad0.").replace(".default", "")]
            worst = max(worst, *(abs(a - b) for a, b in zip(tensor.flat(), mine.flat())))
            largest = max(largest, *map(abs, tensor.flat()))
        self.assertLess(worst, 2e-5 * largest)
        return golden, 0.02 * 5 * meta["official_arguments"]["learning_rate"]

    def test_stage2(self):
        golden, most = self.check_released("stage2", export="both")
        model = read_safetensors(self.folder / "out" / "model" / "model.safetensors")
        for name, tensor in golden.items():
            if name.startswith("final.model.layers."):
                mine = model[name.removeprefix("final.")]
                self.assertLess(max(abs(a - b) for a, b in zip(tensor.flat(), mine.flat())), most, name)
        self.assertTrue((self.folder / "out" / "model" / "pytorch_model.bin").exists())

        picture = xml.etree.ElementTree.parse(self.folder / "out" / "metrics.svg").getroot()
        lines = picture.findall("{http://www.w3.org/2000/svg}polyline")
        self.assertEqual([5] * 5, [len(line.get("points").split()) for line in lines])

    def test_plan_and_limit(self):
        plan = self.json("train", "--config", self.config(), "--plan")["recompute"]
        for way in plan.values():
            self.assertEqual(way["total"], sum(line["bytes"] for line in way["lines"]))
        total = plan["blocks"]["total"]
        self.assertLess(total, plan["none"]["total"])
        self.assertIn("recompute: none", self.good("train", "--config", self.config(), "--plan"))
        self.assertFalse((self.folder / "out").exists())
        done = self.call("train", "--config", self.config(memory_limit_mib=(total - 1) / 2**20), *self.lines)
        self.assertEqual(1, done.returncode)
        for word in ("memory_limit_mib", f"at most {total - 1} bytes", f"needs {total}", "moments of the optimiser"):
            self.assertIn(word, done.stderr.decode())
        self.assertFalse((self.folder / "out" / "checkpoints").exists())
        done = self.call("train", "--config", self.config(memory_limit_mib=total / 2**20), *self.lines)
        self.assertEqual(0, done.returncode, done.stderr)

    def test_lora(self):
        golden = read_safetensors(self.released / "lora.safetensors")
        begin = {}
        for name, a in golden.items():
            if name.startswith("init."):
                plain = name.removeprefix("init.").replace(".default", "")
                rows, rank = golden["final." + name.removeprefix("init.").replace("lora_A", "lora_B")].shape
                begin[plain] = Tensor("F32", a.shape, bytes(a.data[: 4 * a.shape[0] * a.shape[1]]))
                begin[plain.replace("lora_A", "lora_B")] = floats([0.0] * rows * rank, [rows, rank])
        (self.folder / "begin").mkdir()
        write_safetensors(self.folder / "begin" / "adapter_model.safetensors", begin)
        options = (self.released / "lora_saved" / "adapter_config.json").read_text()
        (self.folder / "begin" / "adapter_config.json").write_text(options)
        _, most = self.check_released("lora", lora={"adapter": str(self.folder / "begin")}, export="safetensors")
        saved = read_safetensors(self.folder / "out" / "adapter" / "adapter_model.safetensors")
        self.assertEqual(set(begin), set(saved))
        for name, tensor in saved.items():
            want = golden["final." + name.replace(".weight", ".default.weight")]
            self.assertLess(max(abs(a - b) for a, b in zip(tensor.flat(), want.flat())), most, name)
        merged = read_safetensors(self.released / "lora_merged.safetensors")
        model = read_safetensors(self.folder / "out" / "model" / "model.safetensors")
        for name, tensor in merged.items():
            self.assertLess(max(abs(a - b) for a, b in zip(tensor.flat(), model[name].flat())), most, name)

    def test_killed_and_resumed(self):
        draw = random.Random(7)
        run = {"steps": 24, "save_every": 2, "learning_rate": 1e-3}
        whole = self.config("whole.json", output=str(self.folder / "whole"), **run)
        self.assertEqual(0, self.call("train", "--config", whole, "--threads", "1").returncode)
        parts, checkpoints = self.config(**run), self.folder / "out" / "checkpoints"
        for _ in range(8):
            resume = ["--resume"] if list(checkpoints.glob("step-*")) else []
            begun = subprocess.Popen([self.tool, "train", "--config", parts, "--quiet", *resume], cwd=self.folder)
            try:
                begun.wait(draw.uniform(0.2, 1.2))
            except subprocess.TimeoutExpired:
                begun.kill()
                begun.wait()
        resume = ["--resume"] if list(checkpoints.glob("step-*")) else []
        done = self.call("train", "--config", parts, *resume)
        self.assertEqual(0, done.returncode, done.stderr)
        for file in ("checkpoints/step-00000024/state.safetensors", "model/model.safetensors"):
            self.assertEqual((self.folder / "whole" / file).read_bytes(), (self.folder / "out" / file).read_bytes())
        steps = [json.loads(line)["step"] for line in (self.folder / "out" / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual(list(range(1, 25)), steps)

    def test_what_cannot_be_written_loses_nothing(self):
        """A limit on the size of files stands for a full disk: of a checkpoint's, then of the metrics'."""
        run = {"steps": 40, "save_every": 2, "learning_rate": 1e-3, "keep": 100, "batch_size": 1}
        whole = self.config("whole.json", output=str(self.folder / "whole"), **run)
        self.assertEqual(0, self.call("train", "--config", whole).returncode)
        config, out = self.config(**run), self.folder / "out"
        for limit, word in ((100000, "state.safetensors"), (200, "metrics.jsonl")):
            before = len(list(out.glob("checkpoints/step-*")))
            begun = subprocess.Popen(
                [self.tool, "train", "--config", config, "--quiet", *(["--resume"] if before else [])], cwd=self.folder,
                stderr=subprocess.PIPE, text=True, restore_signals=False,  # SIGXFSZ stays ignored: writes fail instead
            )  # fmt: skip
            while len(list(out.glob("checkpoints/step-*"))) == before:
                self.assertIsNone(begun.poll())
                time.sleep(0.001)
            resource.prlimit(begun.pid, resource.RLIMIT_FSIZE, (limit, limit))
            _, said = begun.communicate(timeout=60)
            self.assertEqual(1, begun.returncode, said)
            self.assertIn(word, said)
            self.assertFalse((out / "checkpoints" / "partial").exists())
            for checkpoint in out.glob("checkpoints/step-*"):
                self.assertEqual({"state.json", "state.safetensors"}, {f.name for f in checkpoint.iterdir()})
        self.assertEqual(0, self.call("train", "--config", config, "--resume").returncode)
        for file in ("checkpoints/step-00000040/state.safetensors", "model/model.safetensors"):
            self.assertEqual((self.folder / "whole" / file).read_bytes(), (out / file).read_bytes())
        steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual(list(range(1, 41)), steps)

    def test_resuming_with_another_configuration_changes_nothing(self):
        self.assertEqual(0, self.call("train", "--config", self.config(steps=2, export="none")).returncode)
        kept = (self.folder / "out" / "run.json").read_text()
        for changes, word in (({"learning_rate": 1e-3}, '"learning_rate"'), ({"pack": 2}, '"pack"')):
            config = self.config("other.json", steps=2, export="none", **changes)
            self.refused([word], "train", "--config", config, "--resume", "--quiet")
            self.assertEqual(kept, (self.folder / "out" / "run.json").read_text())
        self.refused(['"instruction set"'], "train", "--config", self.config(steps=2, export="none"), "--resume",
                     "--quiet", "--isa", "portable")  # fmt: skip

    def test_a_tower_from_nothing(self):
        self.good("random", "--config", "tiny", "--to", "begin", "--tokenizer", self.tiny / "tokenizer.model")
        faces = [self.record(f, "", "") for f in "ab"]
        labels = [{"who": "a", "aus": [0, 1]}, {"who": "b", "aus": [1, None]}]
        records = [{"image": r["image"], "labels": l} for r, l in zip(faces, labels)]
        heads = {"who": {"kind": "class", "names": ["a", "b"]}, "aus": {"kind": "multi_label", "names": ["1", "2"]}}
        tower = {"model": "begin", "data": str(self.write("labels.json", records)), "stage": "tower", "heads": heads,
                 "learning_rate": 3e-3, "steps": 60, "output": "eye"}  # fmt: skip
        done = self.call("train", "--config", self.config(**tower), *self.lines)
        self.assertEqual((0, b""), (done.returncode, done.stderr))
        last = json.loads((self.folder / "eye" / "metrics.jsonl").read_text().splitlines()[-1])
        self.assertLess(last["loss"], 0.2)
        self.assertEqual([1, 1], [last["heads"][h]["accuracy"] for h in ("who", "aus")])
        shapes = {n: t.shape for n, t in read_safetensors(self.folder / "eye" / "heads.safetensors").items()}
        want = {"who.weight": [2, 32], "who.bias": [2], "aus.weight": [2, 32], "aus.bias": [2]}
        self.assertEqual(want, shapes)
        for name in read_safetensors(self.folder / "eye" / "model" / "model.safetensors"):
            self.assertNotIn("heads", name)
        for stage, changes in (("stage1", {}), ("stage2", {"train_towers": True})):
            config = self.config(model="eye/model", stage=stage, steps=2, output=stage, export="none", **changes)
            done = self.call("train", "--config", config, *self.lines)
            self.assertEqual((0, b""), (done.returncode, done.stderr), stage)
        tower |= {"data": str(self.write("wrong.json", [records[0] | {"labels": {"who": "c"}}])), "output": "other"}
        self.refused(["labels.who", "one of a, b"], "train", "--config", self.config(**tower), "--quiet")

    def test_terminated(self):
        config = self.config(steps=100000, save_every=0)
        begun = subprocess.Popen(
            [self.tool, "train", "--config", config, "--threads", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=self.folder, text=True,
        )  # fmt: skip
        metrics = self.folder / "out" / "metrics.jsonl"
        while not (metrics.exists() and metrics.read_text().count("\n") > 2):
            self.assertIsNone(begun.poll())
        begun.send_signal(signal.SIGTERM)
        _, said = begun.communicate(timeout=30)
        self.assertEqual(75, begun.returncode)
        self.assertIn("--resume goes on", said)
        self.assertEqual(1, len(list((self.folder / "out" / "checkpoints").glob("step-*"))))

    def test_refused(self):
        empty, words = str(self.write("empty.json", [])), "an empty one"
        geometry = str(self.probe)
        (self.folder / "file").write_text("")
        for changes, word in (
            ({"data": empty}, words),
            ({"learning_rate": "NaN"}, '"learning_rate"'),
            ({"learning_rate": -1}, '"learning_rate"'),
            ({"learningrate": 1}, 'unknown field "learningrate"'),
            ({"output": str(self.folder / "file" / "out")}, "make the folder"),
            ({"model": "nowhere"}, "nowhere"),
            ({"batches": [[9]]}, "samples below 4"),
            ({"stage": "lora", "lora": {"targets": ["qproj"]}}, "qproj"),
            ({"stage": "lora", "lora": {"adapter": geometry}}, "adapter_config.json"),
        ):
            done = self.call("train", "--config", self.config(**changes))
            self.assertEqual(1, done.returncode, changes)
            self.assertIn(word, done.stderr.decode(), changes)
            self.assertFalse((self.folder / "out" / "checkpoints").exists())

    def test_a_run_does_not_write_over_its_own_model(self):
        model = self.folder / "out" / "model"
        model.parent.mkdir()
        model.symlink_to(self.tiny_bin)
        config = self.config(model=str(model))
        said = self.refused(["begins with", "another output folder"], "train", "--config", config, prints=True)
        self.assertNotIn("checkpoints", [f.name for f in model.parent.iterdir()], said)

    def test_overfits_and_repeats_its_answers(self):
        talks = [("How old is the person?", "About thirty.", "Forty, with grey hair."),
                 ("Which emotion?", "Happiness, because of the smile.", "Neutral."),
                 ("Describe the hair.", "Short and dark.", "Brown and wavy."),
                 ("Is it real or fake?", "Real: no artefacts are visible.", "Fake: the mouth is blurred.")]  # fmt: skip
        records = [self.record("ab"[i], t[0], t[1 + i]) for t in talks for i in range(2)]
        data = str(self.write("talks.json", records))
        config = self.config(data=data, learning_rate=1e-2, batch_size=8, steps=200, save_every=0)
        self.assertEqual(0, self.call("train", "--config", config, *self.lines, timeout=300).returncode)
        last = json.loads((self.folder / "out" / "metrics.jsonl").read_text().splitlines()[-1])
        self.assertLess(last["loss"], 0.02)
        for r in records:
            question, answer = (turn["value"] for turn in r["conversations"])
            said = self.call("ask", "--model", self.folder / "out" / "model", "--image", r["image"], "--landmarks",
                             r["landmarks_2d"], "--question", question.removeprefix("<image>\n"), "--template", "v1",
                             "--max-new-tokens", "30")  # fmt: skip
            self.assertEqual(answer, said.stdout.decode().strip(), said.stderr)
