"""facellava plan, and the limit of memory that questions keep."""

from support import ToolTest


class Plan(ToolTest):
    def lines(self, *options):
        plan = self.json("plan", *options)
        self.assertEqual(plan["total"], sum(line["bytes"] for line in plan["lines"]))
        return {line["what"]: line["bytes"] for line in plan["lines"]}

    def test_a_configuration_without_its_weights(self):
        matrices = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
        words = 2 * 32000 * 4096
        full = self.lines("--config", "facellava-7b", "--image", "--tokens", 44, "--reserve", 100)
        self.assertEqual(2 * (matrices + words), full["weights, decoder, bf16, mapped"])
        self.assertEqual(32 * 2 * (256 + 44 + 100) * 4096 * 2, full["keys and values"])
        small = self.lines("--config", "facellava-7b", "--weights", "q4", "--batch", 3, "--tokens", 10, "--reserve", 0)
        self.assertEqual(matrices // 32 * 18, small["weights, decoder, q4, mapped"])
        self.assertEqual(words // 32 * 34, small["weights, decoder, q8, mapped"])
        self.assertEqual(32 * 2 * 3 * 10 * 4096 * 2, small["keys and values"])
        self.assertNotIn("visual tokens", small)

    def test_a_folder(self):
        stored = self.lines("--model", self.tiny, "--video")
        self.assertIn("weights, video tower, bf16, mapped", stored)
        idle = [w["what"] for w in self.json("plan", "--model", self.tiny)["not_read"]]
        self.assertIn("image tower, bf16, mapped", idle)
        converted = self.lines("--model", self.tiny, "--precision", "f32")
        self.assertIn("weights, decoder, f32, converted at load", converted)
        text = self.good("plan", "--model", self.tiny, "--image")
        self.assertRegex(text, r"\n  total +[0-9.]+ MiB\n")
        self.assertRegex(text, "fits into the [0-9]+ MiB")

    def test_what_cannot_be_planned(self):
        self.refused(["--model", "--config"], "plan")
        self.refused(["expected one of", "facellava-7b"], "plan", "--config", "unknown")
        self.refused(["no tower for videos"], "plan", "--config", "probe", "--video")
        self.refused(["expected at most 4096, found 9000"], "plan", "--config", "facellava-7b", "--tokens", 9000)
        self.refused(["--batch"], "plan", "--config", "probe", "--batch", 0)

    def test_a_limit_refuses_with_the_plan(self):
        question = ["ask", "--model", self.tiny, "--prompt", "Hello", "--max-new-tokens", 4]
        for limit, what in ((0.5, "ckpt_safetensors_bf16"), (2.5, "session")):
            done = self.call(*question, "--memory-limit", limit)
            self.assertEqual((1, b""), (done.returncode, done.stdout), limit)
            said = done.stderr.decode()
            self.assertIn(what, said.splitlines()[0])
            self.assertIn("expected to need at most", said)
            self.assertIn("weights, decoder, bf16, mapped", said)
        self.good(*question, "--memory-limit", 64)

    def test_verbose_says_what_is_loaded(self):
        done = self.call("ask", "--model", self.tiny, "--prompt", "Hello", "--max-new-tokens", 1, "--verbose")
        self.assertEqual(0, done.returncode)
        self.assertIn("weights, decoder, bf16, mapped", done.stderr.decode())
        self.assertIn("keys and values", done.stderr.decode())
