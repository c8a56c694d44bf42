"""PyTorch's ViT-L/14 image tower, layers 0 to 22, batch 1: transformers' CLIP modules, attention by sdpa."""

import pathlib

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModel

from serving import parse, serve

args = parse(__doc__)
torch.set_num_threads(args.threads)
torch.manual_seed(0)
config = CLIPVisionConfig(hidden_size=1024, intermediate_size=4096, num_attention_heads=16, num_hidden_layers=24,
                          image_size=224, patch_size=14, hidden_act="gelu", attn_implementation="sdpa")
model = CLIPVisionModel(config).eval()
tower = getattr(model, "vision_model", model)
used = tower.encoder.layers[:23]
pixels = torch.randn(1, 3, 224, 224)


@torch.inference_mode()
def forward(x):
    h = tower.pre_layrnorm(tower.embeddings(x))
    for layer in used:
        h = layer(h, attention_mask=None)
        h = h[0] if isinstance(h, tuple) else h
    return h


if args.save:
    folder = pathlib.Path(args.save)
    folder.mkdir(parents=True, exist_ok=True)
    names = {k if k.startswith("vision_model.") else "vision_model." + k: v.contiguous()
             for k, v in model.state_dict().items() if not k.endswith("position_ids")}
    save_file(names, folder / "model.safetensors")
    np.save(folder / "input.npy", pixels.numpy())
    np.save(folder / "output.npy", forward(pixels)[0].numpy())
else:
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.weights]
    model.to(dtype)
    x = pixels.to(dtype)
    serve({"peer": "PyTorch " + torch.__version__, "part": "vit", "weights": args.weights}, lambda: forward(x),
          args.threads)
