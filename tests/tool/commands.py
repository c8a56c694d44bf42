"""The probe's questions, label scores, the other commands, and checkpoints in several folders."""

import json
import shutil

from support import Tensor, ToolTest, floats, read_safetensors, write_npy, write_pts, write_safetensors


class Probe(ToolTest):
    def setUp(self):
        super().setUp()
        self.faces = json.loads((self.probe / "faces" / "answers.json").read_text())

    def face(self, name, landmarks, *options, command="ask"):
        picture = self.probe / "faces" / name
        return self.json(
            command, "--model", self.probe / "model", "--image", picture, "--landmarks", landmarks, *options
        )

    def test_all_questions(self):
        asked = 0
        for face in self.faces:
            for qa in face["qa"]:
                landmarks = (self.probe / "faces" / face["image"]).with_suffix(".json")
                answer = self.face(face["image"], landmarks, "--question", qa["question"])
                with self.subTest(face=face["image"], question=qa["question"]):
                    self.assertEqual(qa["answer_ids"] + [2], answer["generated_ids"])
                    self.assertEqual(qa["answer"], answer["answer"])
                    self.assertEqual(
                        ("eos", True, "probe"), (answer["finish"], answer["landmarks_used"], answer["config"])
                    )
                    self.assertLessEqual(
                        {"load", "prepare", "vision", "prefill", "generate"}, set(answer["milliseconds"])
                    )
                asked += 1
        self.assertEqual(15, asked)

    def test_all_questions_as_one_batch_on_the_portable_path(self):
        requests = [
            {"question": qa["question"], "images": [face["image"]], "landmarks": [face["image"].replace("png", "json")]}
            for face in self.faces
            for qa in face["qa"]
        ]
        shutil.copytree(self.probe / "faces", self.folder / "faces")  # names in requests are beside their file
        file = self.write("faces/requests.json", requests)
        dump = self.folder / "dump.safetensors"
        answers = self.json(
            "ask", "--model", self.probe / "model", "--requests", file, "--isa", "portable", "--dump", dump
        )
        expected = [qa["answer_ids"] + [2] for face in self.faces for qa in face["qa"]]
        self.assertEqual(expected, [a["generated_ids"] for a in answers])
        tensors = read_safetensors(dump)
        for i, qa in enumerate(qa for face in self.faces for qa in face["qa"]):
            self.assertEqual([-200] + qa["prompt_ids"], list(tensors[f"{i}.input_ids"].flat()))
        plain = self.good("ask", "--model", self.probe / "model", "--requests", file, "--max-new-tokens", 3)
        self.assertEqual([f"[{i}]" for i in range(15)], [line.split(" ")[0] for line in plain.splitlines()])

    def test_landmark_files_of_all_formats(self):
        points = self.landmarks_of("face_a.png")
        flat = [v for p in points for v in p]
        write_npy(self.folder / "a.npy", (68, 2), flat)
        write_npy(self.folder / "flat.npy", (136,), flat)
        write_npy(self.folder / "frame.npy", (1, 68, 2), flat)
        write_pts(self.folder / "a.pts", points)
        self.write("flat.json", flat)
        self.write("named.json", {"landmarks": points})
        qa = self.faces[1]["qa"][1]
        for name in ("a.npy", "flat.npy", "frame.npy", "a.pts", "flat.json", "named.json"):
            with self.subTest(file=name):
                answer = self.face("face_a.png", self.folder / name, "--question", qa["question"])
                self.assertEqual(qa["answer_ids"] + [2], answer["generated_ids"])

    def test_streamed_text(self):
        face, qa = self.faces[0], self.faces[0]["qa"][0]
        picture = self.probe / "faces" / face["image"]
        said = self.good(
            "ask",
            "--model",
            self.probe / "model",
            "--image",
            picture,
            "--landmarks",
            picture.with_suffix(".json"),
            "--question",
            qa["question"],
        )
        self.assertEqual(qa["answer"] + "\n", said)

    def test_none_is_another_answer_and_says_so(self):
        answer = self.face("face_a.png", "none", "--question", self.faces[1]["qa"][1]["question"])
        self.assertFalse(answer["landmarks_used"])

    def test_the_limit_of_tokens(self):
        qa = self.faces[0]["qa"][0]
        landmarks = self.probe / "faces" / "astronaut.json"
        answer = self.face("astronaut.png", landmarks, "--question", qa["question"], "--max-new-tokens", 4)
        self.assertEqual((qa["answer_ids"][:4], "length"), (answer["generated_ids"], answer["finish"]))

    def test_sampling_is_seeded(self):
        landmarks = self.probe / "faces" / "astronaut.json"

        def draw(seed):
            options = ["--temperature", 3, "--seed", seed, "--max-new-tokens", 12]
            return self.face("astronaut.png", landmarks, "--question", "Describe this face.", *options)["generated_ids"]

        self.assertEqual(draw(7), draw(7))
        self.assertNotEqual(draw(7), draw(8))
        greedy = self.face(
            "astronaut.png", landmarks, "--question", "Describe this face.", "--temperature", 3, "--top-k", 1
        )
        self.assertEqual(self.faces[0]["qa"][2]["answer_ids"] + [2], greedy["generated_ids"])

    def test_score(self):
        labels = ["happy", "sad", "surprised", "fearful", "angry", "disgusted", "neutral"]
        checked = 0
        for face in self.faces:
            said = face["qa"][0]["answer"]
            true = [label for label in labels if f" is {label}" in said]
            if not said.startswith("The expression is ") or len(true) != 1:
                continue
            checked += 1
            scores = self.face(
                face["image"],
                (self.probe / "faces" / face["image"]).with_suffix(".json"),
                "--question",
                face["qa"][0]["question"],
                "--labels",
                ",".join(labels),
                "--begin",
                "The expression is",
                command="score",
            )["labels"]
            self.assertEqual(labels, [s["label"] for s in scores])
            self.assertAlmostEqual(1, sum(s["probability"] for s in scores), delta=1e-5)  # sums of fp32
            self.assertEqual(true[0], max(scores, key=lambda s: s["probability"])["label"])
            self.assertTrue(all(s["log_probability"] < 0 for s in scores))
        self.assertGreater(checked, 0)


class Devices(ToolTest):
    def test_the_answer_names_the_device_that_was_taken(self):
        ask = ("ask", "--model", self.probe / "model", "--question", "What emotion does this face show?", "--json",
               "--config", "probe", "--max-new-tokens", 2)
        self.assertEqual("cpu", json.loads(self.good(*ask))["device"])
        done = self.call(*ask, "--device", "auto")
        self.assertEqual(0, done.returncode, done.stderr)
        taken = json.loads(done.stdout)["device"]
        self.assertRegex(done.stderr.decode(), f"^device: {taken}")
        if taken == "cpu":
            self.refused(["--device cuda:"], *ask, "--device", "cuda")
        self.refused(["--device", "tpu"], *ask, "--device", "tpu")

    def test_bounds_on_paper(self):
        plan = ("plan", "--config", "facellava-7b", "--weights", "f32", "--image")
        h100, rtx4090 = (self.json(*plan, "--device", d) for d in ("h100", "rtx4090"))
        self.assertEqual((True, False), (h100["fits"], rtx4090["fits"]))  # 27 GB of weights
        for bound in h100["bounds"] + rtx4090["bounds"]:
            self.assertLessEqual(bound["seconds_tensor_cores"], bound["seconds_fp32"])
        self.assertRegex(self.good(*plan, "--device", "rtx4090"), "more than it has")
        self.refused(["--device", "h100, rtx4090", "tpu"], *plan, "--device", "tpu")
        self.refused(["expected tokens"], "plan", "--config", "tiny", "--tokens", 0, "--device", "h100")


class Diff(ToolTest):
    def setUp(self):
        super().setUp()
        picture = self.probe / "faces" / "astronaut.png"
        self.dump = self.folder / "a.safetensors"
        self.good(
            "ask",
            "--model",
            self.probe / "model",
            "--image",
            picture,
            "--landmarks",
            picture.with_suffix(".json"),
            "--question",
            "Describe this face.",
            "--max-new-tokens",
            2,
            "--dump",
            self.dump,
        )

    def planted(self, change):
        tensors = read_safetensors(self.dump)
        change(tensors)
        other = self.folder / "b.safetensors"
        write_safetensors(other, tensors)
        return other

    def test_same(self):
        self.assertNotIn("differs", self.good("diff", self.dump, self.dump))
        self.assertIsNone(self.json("diff", self.dump, self.planted(lambda t: None))["first_difference"])

    def test_planted_differences_come_in_the_order_of_the_model(self):
        def change(name, index, by):
            def at(tensors):
                t = tensors[name]
                values = t.flat()
                values[index] += by
                tensors[name] = floats(values, t.shape)

            return at

        late = self.planted(change("0.logits", 1234, 1.0))
        self.refused(["0.logits"], "diff", self.dump, late, prints=True)
        both = self.planted(lambda t: (change("0.logits", 5, 1.0)(t), change("0.projected", 321, 0.5)(t)))
        self.refused(["0.projected"], "diff", self.dump, both, prints=True)
        done = self.call("diff", self.dump, both, "--json")
        report = json.loads(done.stdout)
        self.assertEqual("0.projected", report["first_difference"])
        rows = {r["tensor"]: r for r in report["tensors"]}
        self.assertEqual(321, rows["0.projected"]["at"])
        self.assertAlmostEqual(0.5, rows["0.projected"]["max_abs"], delta=1e-5)
        self.assertEqual("same", rows["0.pixels"]["verdict"])
        self.good("diff", self.dump, both, "--tolerance", 10)

    def test_not_a_number_is_a_difference(self):
        def change(tensors):
            values = tensors["0.hidden_final"].flat()
            values[3] = float("nan")
            tensors["0.hidden_final"] = floats(values, tensors["0.hidden_final"].shape)

        self.refused(["0.hidden_final"], "diff", self.dump, self.planted(change), prints=True)

    def test_missing_and_reshaped(self):
        self.refused(["0.landmarks"], "diff", self.dump, self.planted(lambda t: t.pop("0.landmarks")), prints=True)

        def flatten(tensors):
            t = tensors["0.pixels"]
            tensors["0.pixels"] = Tensor(t.dtype, [3, len(t.flat()) // 3], t.data)

        self.refused(["0.pixels"], "diff", self.dump, self.planted(flatten), prints=True)
        self.refused(["nowhere"], "diff", self.dump, "nowhere")


class Checkpoints(ToolTest):
    def inspect(self, folder, *options):
        done = self.call("inspect", "--model", folder, "--json", *options)
        self.assertTrue(done.stdout, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["complete"], done.returncode == 0)
        self.assertEqual(not report["complete"], bool(done.stderr))
        return report

    def test_whole(self):
        for folder in (self.tiny, self.tiny_bin):
            report = self.inspect(folder, "--tensors")
            self.assertEqual(
                (True, "tiny", [], [], []),
                tuple(report[k] for k in ("complete", "config", "missing", "unexpected", "misshaped")),
            )
            index = json.loads(next(folder.glob("*.index.json")).read_text())["weight_map"]
            self.assertEqual(sorted(index), sorted(t["name"] for t in report["tensors"]))

    def test_damage_is_listed_exactly(self):
        """Also of tensors that the geometry of a tower is read from."""
        tower = "model.image_tower.image_tower.encoder.layers"
        cases = [
            ("model.layers.1.mlp.up_proj.weight", "model.landmarks_projector.region_layers.lips.bias"),
            (f"{tower}.2.mlp.fc1.weight", "model.video_tower.video_tower.pre_layrnorm.weight"),
            (f"{tower}.3.mlp.fc1.weight", "model.norm.weight"),
            (f"{tower}.1.layer_norm2.bias", f"{tower}.3.self_attn.q_proj.weight"),
        ]
        for number, (removed, reshaped) in enumerate(cases):
            with self.subTest(removed=removed, reshaped=reshaped):
                tensors = self.tiny_tensors()
                del tensors[removed]
                t = tensors[reshaped]
                tensors[reshaped] = Tensor(
                    t.dtype, t.shape + [1] if len(t.shape) == 1 else [t.shape[0] * t.shape[1]], t.data
                )
                tensors["model.another.weight"] = floats([1, 2, 3], [3])
                name = "model.mm_projector.2.bias"
                tensors["model.mm_projector.two.bias"] = tensors.pop(name)
                report = self.inspect(self.tiny_copy(f"damaged{number}", tensors))
                self.assertEqual(sorted([removed, name]), sorted(report["missing"]))
                self.assertEqual(["model.another.weight", "model.mm_projector.two.bias"], sorted(report["unexpected"]))
                self.assertEqual([reshaped], [m["name"] for m in report["misshaped"]])
                self.assertEqual(t.shape, report["misshaped"][0]["expected"])

    def test_a_damaged_checkpoint_is_not_asked(self):
        tensors = self.tiny_tensors()
        del tensors["model.norm.weight"]
        folder = self.tiny_copy("damaged", tensors)
        done = self.call("ask", "--model", folder, "--prompt", "hello")
        self.assertEqual(1, done.returncode)
        self.assertIn(b"model.norm.weight", done.stderr)

    def question(self, folder, *options):
        return self.json(
            "ask",
            "--model",
            folder,
            "--image",
            f"{self.goldens}/preprocess/image_face_a_256.safetensors:pixel_values",
            "--question",
            "How old?",
            "--max-new-tokens",
            8,
            *options,
        )

    def test_without_landmark_modules(self):
        tensors = {k: t for k, t in self.tiny_tensors().items() if "landmarks" not in k}
        folder = self.tiny_copy("published", tensors)
        done = self.call("ask", "--model", folder, "--prompt", "hello")
        self.assertEqual(1, done.returncode)
        self.assertIn(b"landmarks_projector", done.stderr)
        expected = self.question(self.tiny, "--landmarks", "none")["generated_ids"]
        for options in ([], ["--landmarks", "none"]):
            answer = self.question(folder, "--missing", "landmarks", *options)
            self.assertEqual((expected, False), (answer["generated_ids"], answer["landmarks_used"]))
        self.refused(
            ["landmark"],
            "ask",
            "--model",
            folder,
            "--missing",
            "landmarks",
            "--question",
            "How old?",
            "--image",
            self.probe / "faces" / "face_a.png",
            "--landmarks",
            self.probe / "faces" / "face_a.json",
        )

    def test_part_of_the_landmark_modules_is_none(self):
        tensors = self.tiny_tensors()
        del tensors["model.global_landmarks_projector.bias"]
        done = self.call(
            "ask", "--model", self.tiny_copy("part", tensors), "--missing", "landmarks", "--prompt", "hello"
        )
        self.assertEqual(1, done.returncode)
        self.assertIn(b"landmark modules", done.stderr)

    def split_towers(self):
        """The tiny model as it is published: towers in LanguageBind folders of their own."""
        tensors, folders = self.tiny_tensors(), {}
        for kind in ("image", "video"):
            prefix = f"model.{kind}_tower.{kind}_tower."
            tower = {
                "vision_model." + k.removeprefix(prefix): tensors.pop(k) for k in list(tensors) if k.startswith(prefix)
            }
            tower["text_model.final_layer_norm.weight"] = floats([1], [1])  # such folders hold more than the tower
            folders[kind] = self.folder / f"LanguageBind_{kind}"
            folders[kind].mkdir()
            write_safetensors(folders[kind] / "model.safetensors", tower)
            (folders[kind] / "config.json").write_text(json.dumps({"vision_config": {"num_attention_heads": 4}}))
        return self.tiny_copy("decoder", tensors), [
            "--image-tower",
            folders["image"],
            "--video-tower",
            folders["video"],
        ]

    def test_separate_towers(self):
        folder, towers = self.split_towers()
        landmarks = ["--landmarks", self.goldens / "landmarks" / "image_face_a_256.npy"]
        whole = self.question(self.tiny, *landmarks)["generated_ids"]
        self.assertEqual(whole, self.question(folder, *towers, *landmarks)["generated_ids"])
        self.assertEqual(
            whole, self.question(self.tiny, *towers, *landmarks)["generated_ids"], "its own towers are spare"
        )
        self.assertTrue(self.inspect(folder, *towers)["complete"])
        self.assertIn(".heads = 4", self.good("config", "--from", folder, *towers))

    def test_without_towers_only_words(self):
        folder, towers = self.split_towers()
        done = self.call("ask", "--model", folder, "--prompt", "hello")
        self.assertEqual(1, done.returncode)
        self.assertIn(b"image_tower", done.stderr)
        words = ["--prompt", "hello", "--max-new-tokens", 6]
        expected = self.json("ask", "--model", self.tiny, *words)["generated_ids"]
        self.assertEqual(expected, self.json("ask", "--model", folder, "--missing", "towers", *words)["generated_ids"])
        self.refused(
            ["tower", "images"],
            "ask",
            "--model",
            folder,
            "--missing",
            "towers",
            "--question",
            "How old?",
            "--landmarks",
            "none",
            "--image",
            self.probe / "faces" / "face_a.png",
        )

    def test_config_prints_the_geometry(self):
        self.refused(["--tower-heads"], "config", "--from", self.tiny)
        header = self.good("config", "--from", self.tiny, "--tower-heads", 4)
        for part in (
            "FaceLlavaConfig extra_ckpt_safetensors_bf16{",
            ".side = 224, .patch = 14, .layers = 4, .run_layers = 3",
            ".dim = 32, .ffn = 80, .heads = 4",
            ".frames = 8",
            ".vocab = 32000, .layers = 3",
            ".dim = 16, .ffn = 48",
            ".kv_heads = 2, .head_dim = 8",
            "FusionKind::kSimple",
            '{{"ckpt_safetensors_bf16", extra_ckpt_safetensors_bf16}}',
        ):
            self.assertIn(part, header)
        probe = self.good("config", "--from", f"{self.probe / 'model'}/", "--name", "new")
        for part in ("Head::kTied", "FusionKind::kMasked", "Policy::kPaper", "ScaleSource::kStored", ".run_layers = 4"):
            self.assertIn(part, probe)
        self.assertNotIn("FaceLlavaConfig new{", probe, "a word of C++ is no name")

    def test_a_geometry_that_is_not_compiled_in(self):
        folder = self.tiny_copy("other", config={"intermediate_size": 40})
        said = self.refused([folder], "ask", "--model", folder, "--prompt", "hello")
        self.assertIn("facellava config --from", said)
        self.assertIn("FACELLAVA_EXTRA_CONFIGS", said)
        self.refused(["tiny", folder], "ask", "--model", folder, "--prompt", "hello", "--config", "tiny")
