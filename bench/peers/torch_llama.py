"""PyTorch's 7B Llama decoder: prefill, or with --decode one token after --tokens others."""

import pathlib

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from serving import parse, serve

args = parse(__doc__)
torch.set_num_threads(args.threads)
torch.manual_seed(0)
dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.weights]
config = LlamaConfig(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_attention_heads=32,
                     num_key_value_heads=32, num_hidden_layers=args.layers, rms_norm_eps=1e-5,
                     attn_implementation="sdpa", dtype=dtype)
torch.set_default_dtype(dtype)
model = LlamaForCausalLM(config).eval()
ids = torch.randint(0, 32000, (1, args.tokens))


@torch.inference_mode()
def prefill(cache=None):
    return model(ids, cache=cache, use_cache=True, logits_to_keep=1)


@torch.inference_mode()
def step(cache):
    model(ids[:, :1], cache=cache, use_cache=True, logits_to_keep=1)
    cache.crop(-1)


if args.save:
    folder = pathlib.Path(args.save)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    np.save(folder / "input.npy", ids[0].to(torch.int32).numpy())
    np.save(folder / "output.npy", prefill().logits[0, -1].float().numpy())
else:
    description = {"peer": "PyTorch " + torch.__version__, "part": "decode" if args.decode else "prefill",
                   "weights": args.weights, "layers": args.layers, "tokens": args.tokens}
    if args.decode:
        cache = DynamicCache()
        prefill(cache)
        serve(description, lambda: step(cache), args.threads)
    else:
        serve(description, prefill, args.threads)
