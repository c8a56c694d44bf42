"""PyTorch's step on the model and the inputs that bench_train wrote: eager, in fp32 or with bf16 autocast, towers
without gradients, AdamW fused."""

import pathlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "interchange"))

from serving import parser, peak_mib, serve
from torch_model import VISION, FaceLlava

p = parser(__doc__)
p.add_argument("--stage", choices=("stage1", "stage2"), default="stage2")
args = p.parse_args()
torch.set_num_threads(args.threads)
before = peak_mib()
model = FaceLlava.from_folder(args.folder, "model.safetensors")
model.decoder.train()
inputs = load_file(args.folder / "inputs.safetensors")
with safe_open(args.folder / "inputs.safetensors", "pt") as file:
    answer = int(file.metadata()["answer"])
words, features = inputs["words"], len(model.w["image_tower.image_tower.embeddings.position_embedding.weight"]) - 1
learned = torch.cat([torch.full((len(words), 1 + features + words.shape[1] - answer), -100), words[:, -answer:]], 1)

trained = [t for name, t in model.w.items() if name.startswith(("landmarks_", "global_landmarks_projector"))]
if args.stage == "stage2":
    trained += [t for name, t in model.w.items() if name.startswith("mm_projector")] + [*model.decoder.parameters()]
model.decoder.requires_grad_(args.stage == "stage2")
for name in [name for name in model.w if not name.startswith(VISION)]:
    del model.w[name]  # the decoder has its own
for t in trained:
    t.requires_grad_()
optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0, fused=True)
last = {}


def step():
    with torch.autocast("cpu", torch.bfloat16, enabled=args.weights == "bf16"):
        visual = model.see("image", inputs["pixels"], inputs["points"])
        embed = model.decoder.get_input_embeddings()
        start = embed(torch.ones((len(words), 1), dtype=torch.long))
        rows = torch.cat([start, visual.to(start.dtype), embed(words)], 1)
        loss = model.decoder(inputs_embeds=rows, labels=learned, use_cache=False).loss
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_([t for t in trained if t.grad is not None], 1.0)
    optimizer.step()
    optimizer.zero_grad()
    last.setdefault("loss", float(loss.detach()))
    last.setdefault("norm", float(norm))
    last.setdefault("tokens", rows.shape[0] * rows.shape[1])


step()
described = {"peer": "PyTorch " + torch.__version__, "stage": args.stage, "weights": args.weights, "before_mib": before}
serve(described | last, step, args.threads)
