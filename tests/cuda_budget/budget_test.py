"""The check of the budgets, on excerpts of what cuobjdump and nvdisasm 13.5 said of four sm_90 kernels by nvcc 13.0
(recorded/): one of them, before it was given registers enough, spilled. Needs no toolkit."""
import copy
import json
import pathlib
import unittest

import budget
import sass

RECORDED = pathlib.Path(__file__).parent / "recorded"
KERNELS = sass.read("sm_90", (RECORDED / "usage.txt").read_text(), (RECORDED / "listing.txt").read_text())
ATTENTION, FILL, UPDATE = "attention_kernel", "fill_kernel", "update_kernel"
DIVISION = "__cuda_sm20_div_s64"
BUDGETS = {
    ATTENTION: {
        "ops": ["attention"],
        "sm_90": {"registers": 40, "occupancy": 0.75},
        "shared": 0,
        "wide": {},
        "calls": [],
        "dynamic_shared": {"1": 10368},
        "spills": {"bytes": 24, "why": "recorded so"},
    },
    FILL: {
        "ops": ["fill"],
        "sm_90": {"registers": 22, "occupancy": 1.0},
        "shared": 0,
        "wide": {"": {"STG.128": 1}},
        "calls": [],
    },
    UPDATE: {
        "ops": ["sgd"],
        "sm_90": {"registers": 32, "occupancy": 1.0},
        "shared": 0,
        "wide": {"SgdRule": {"LDG.128": 3, "STG.128": 3}},
        "calls": [DIVISION],
        "fp64": "recorded so",
    },
}


class Budgets(unittest.TestCase):
    def setUp(self):
        self.budgets = copy.deepcopy(BUDGETS)

    def expect(self, *sentences):
        self.assertEqual(budget.check(KERNELS, self.budgets), list(sentences))

    def test_what_is_read(self):
        self.assertEqual(
            [str(k) for k in KERNELS],
            [
                "update_kernel<SgdRule> on sm_90",
                "attention_kernel<1, float, Access::kScalar> on sm_90",
                "fill_kernel<Access::kScalar> on sm_90",
                "fill_kernel<Access::kWide> on sm_90",
            ],
        )
        update, attention, scalar, wide = KERNELS
        self.assertEqual([k.threads for k in KERNELS], [256] * 4)
        self.assertEqual([k.registers for k in KERNELS], [32, 40, 22, 18])
        self.assertEqual((update.fp64, update.calls), (2, {DIVISION}))
        self.assertEqual((attention.stack, attention.local_accesses), (24, 10))
        self.assertEqual((scalar.wide["STG.128"], wide.wide["STG.128"]), (0, 1))

    def test_what_keeps_its_budget_passes(self):
        self.expect()

    def test_registers(self):
        self.budgets[FILL]["sm_90"]["registers"] = 20
        self.expect("fill_kernel<Access::kScalar> on sm_90: registers: expected at most 20, found 22")

    def test_occupancy(self):
        self.budgets[ATTENTION]["dynamic_shared"]["1"] = 74880
        self.expect("attention_kernel<1, float, Access::kScalar> on sm_90: occupancy: "
                    "expected at least 0.75, found 0.375")

    def test_spills(self):
        kernel = "attention_kernel<1, float, Access::kScalar> on sm_90"
        self.budgets[ATTENTION]["spills"]["bytes"] = 16
        self.expect(f"{kernel}: stack, which spills: expected at most 16 bytes, found 24")
        del self.budgets[ATTENTION]["spills"]
        self.expect(
            f"{kernel}: stack, which spills: expected at most 0 bytes, found 24",
            f"{kernel}: loads and stores of local memory: expected none, or a reason in the budget, found 10",
        )

    def test_double(self):
        del self.budgets[UPDATE]["fp64"]
        self.expect("update_kernel<SgdRule> on sm_90: instructions in double: "
                    "expected none, or a reason in the budget, found 2")

    def test_calls(self):
        self.budgets[UPDATE]["calls"] = []
        self.expect(f"update_kernel<SgdRule> on sm_90: calls: expected at most none, found {DIVISION}")

    def test_wide_accesses(self):
        self.budgets[FILL]["wide"][""]["STG.128"] = 2
        self.expect("fill_kernel<Access::kWide> on sm_90: STG.128: expected at least 2, found 1")
        self.budgets[FILL]["wide"] = {}
        self.expect("fill_kernel<Access::kWide> on sm_90: wide accesses, which Access::kWide is for: "
                    "expected some in the budget, found none")

    def test_kernels_and_budgets_are_the_same_set(self):
        self.budgets["gone_kernel"] = self.budgets.pop(UPDATE)
        self.expect("update_kernel<SgdRule> on sm_90: expected a budget for update_kernel, found none",
                    "gone_kernel: expected a kernel for this budget, found none")

    def test_an_architecture_without_a_budget(self):
        self.budgets[UPDATE]["sm_80"] = self.budgets[UPDATE].pop("sm_90")
        self.expect("update_kernel<SgdRule> on sm_90: expected a budget for sm_90, found none")

    def test_written_budgets_keep_what_people_wrote_and_just_pass(self):
        of = lambda family: [k for k in KERNELS if k.family == family]
        loose = copy.deepcopy(self.budgets)
        for b in loose.values():
            b["sm_90"] = {"registers": 255, "occupancy": 0.0}
        again = {f: budget.measured(of(f), loose[f]) for f in loose}
        self.assertEqual(again, self.budgets)
        self.assertEqual(json.loads(budget.written("13.0", again)), {"nvcc": "13.0", "kernels": again})


class Occupancy(unittest.TestCase):
    """Against the toolkit's cuda_occupancy.h, whose answers these are."""

    def test_each_limit(self):
        for arch, registers, shared, threads, expected in ORACLE:
            with self.subTest(arch=arch, registers=registers, shared=shared, threads=threads):
                self.assertEqual(sass.occupancy(arch, registers, shared, threads), expected)


# Architecture, registers of a thread, shared bytes and threads of a block, occupancy.
ORACLE = [
    ("sm_80", 16, 0, 256, 64 / 64),
    ("sm_80", 40, 0, 256, 48 / 64),
    ("sm_80", 48, 0, 128, 40 / 64),
    ("sm_80", 72, 0, 128, 28 / 64),
    ("sm_80", 72, 0, 96, 27 / 64),
    ("sm_80", 128, 84480, 256, 8 / 64),
    ("sm_80", 64, 74880, 256, 16 / 64),
    ("sm_80", 48, 38016, 256, 32 / 64),
    ("sm_80", 32, 6912, 512, 64 / 64),
    ("sm_80", 38, 2048, 256, 48 / 64),
    ("sm_80", 255, 0, 64, 8 / 64),
    ("sm_80", 30, 16384, 128, 36 / 64),
    ("sm_80", 56, 0, 160, 35 / 64),
    ("sm_90", 16, 0, 256, 64 / 64),
    ("sm_90", 40, 0, 256, 48 / 64),
    ("sm_90", 48, 0, 128, 40 / 64),
    ("sm_90", 72, 0, 128, 28 / 64),
    ("sm_90", 72, 0, 96, 27 / 64),
    ("sm_90", 128, 84480, 256, 16 / 64),
    ("sm_90", 64, 74880, 256, 24 / 64),
    ("sm_90", 48, 38016, 256, 40 / 64),
    ("sm_90", 32, 6912, 512, 64 / 64),
    ("sm_90", 38, 2048, 256, 48 / 64),
    ("sm_90", 255, 0, 64, 8 / 64),
    ("sm_90", 30, 16384, 128, 52 / 64),
    ("sm_90", 56, 0, 160, 35 / 64),
]

if __name__ == "__main__":
    unittest.main()
