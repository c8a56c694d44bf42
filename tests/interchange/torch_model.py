"""Face-LLaVA in plain PyTorch, on the tensors of a folder in the official layout (docs/design.md: the way of the data).
The decoder is transformers' Llama; towers, projector, landmark projector and fusion are written out here.
"""

import json

import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

MEDIA_SLOT = -200
REGIONS = {
    "face": (0, 17), "eyebrow1": (17, 22), "eyebrow2": (22, 27), "nose": (27, 31), "nostril": (31, 36),
    "eye1": (36, 42), "eye2": (42, 48), "lips": (48, 60), "teeth": (60, 68),
}  # fmt: skip
VISION = ("image_tower", "video_tower", "mm_projector", "landmarks_", "global_landmarks_projector")
FUSION_HEADS, FUSION_SCALE, EPS = 8, 0.1, 1e-5


def read_tensors(file):
    """The tensors of a .safetensors or .bin, in fp32."""
    tensors = load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)
    return {name: t.float() for name, t in tensors.items()}


class FaceLlava:
    def __init__(self, tensors, config, tower_heads):
        self.w = {name.removeprefix("model."): t for name, t in tensors.items()}
        self.tower_heads = tower_heads
        keys = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                "num_key_value_heads", "rms_norm_eps", "max_position_embeddings")  # fmt: skip
        options = {key: config[key] for key in keys}
        self.decoder = LlamaForCausalLM(LlamaConfig(**options, attn_implementation="eager")).eval()
        text = {n: t for n, t in tensors.items() if not n.removeprefix("model.").startswith(VISION)}
        self.decoder.load_state_dict(text, strict=True)

    @classmethod
    def from_folder(cls, folder, file):
        config = json.loads((folder / "config.json").read_text())
        return cls(read_tensors(folder / file), config, config["facellava"]["tower_heads"])

    def linear(self, x, at):
        return functional.linear(x, self.w[at + ".weight"], self.w[at + ".bias"])

    def norm(self, x, at):
        return functional.layer_norm(x, x.shape[-1:], self.w[at + ".weight"], self.w[at + ".bias"], EPS)

    def self_attention(self, x, at):
        """Over the second dimension of x [sequences, tokens, dim]."""
        parts = (self.linear(x, f"{at}.{n}_proj") for n in "qkv")
        q, k, v = (part.unflatten(-1, (self.tower_heads, -1)).transpose(1, 2) for part in parts)
        seen = functional.scaled_dot_product_attention(q, k, v)
        return self.linear(seen.transpose(1, 2).flatten(2), at + ".out_proj")

    def tower(self, pixels, at):
        """[frames, tokens, dim] after the last layer but one, from pixels [frames, 3, side, side]."""
        patches = self.w[at + ".embeddings.patch_embedding.weight"]
        x = functional.conv2d(pixels, patches, stride=patches.shape[-1]).flatten(2).transpose(1, 2)
        first = self.w[at + ".embeddings.class_embedding"].reshape(1, 1, -1).expand(len(x), 1, -1)
        x = torch.cat([first, x], 1) + self.w[at + ".embeddings.position_embedding.weight"]
        x = self.norm(x, at + ".pre_layrnorm")
        layers = {name.split(".")[4] for name in self.w if name.startswith(at + ".encoder.layers.")}
        for i in range(len(layers) - 1):
            layer = f"{at}.encoder.layers.{i}"
            if layer + ".temporal_embedding" in self.w:
                x = x + self.w[layer + ".temporal_embedding"].transpose(0, 1)
                over_time = self.norm(x, layer + ".temporal_layer_norm1").transpose(0, 1)
                x = x + self.self_attention(over_time, layer + ".temporal_attn").transpose(0, 1)
            x = x + self.self_attention(self.norm(x, layer + ".layer_norm1"), layer + ".self_attn")
            inner = functional.gelu(self.linear(self.norm(x, layer + ".layer_norm2"), layer + ".mlp.fc1"))
            x = x + self.linear(inner, layer + ".mlp.fc2")
        return x

    def see(self, medium, pixels, points=None):
        """Visual tokens [frames, tokens, hidden] of pictures ("image"), or of a clip's frames ("video"), from pixels
        [frames, 3, side, side] and points [frames, 136]."""
        x = self.tower(pixels, f"{medium}_tower.{medium}_tower")[:, 0 if medium == "video" else 1 :]
        x = self.linear(functional.gelu(self.linear(x, "mm_projector.0")), "mm_projector.2")
        if points is None:
            return x
        local = [self.linear(points[:, 2 * a : 2 * b], f"landmarks_projector.region_layers.{region}")
                 for region, (a, b) in REGIONS.items()]  # fmt: skip
        regions = torch.stack(local, 1) + self.linear(points, "global_landmarks_projector")[:, None]
        seen = self.norm(x + self.cross_attention(x, regions), "landmarks_cross_attn.cross_attn.ln")
        return x + FUSION_SCALE * self.linear(seen, "landmarks_cross_attn.linear_proj")

    def cross_attention(self, x, regions):
        names = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
        weight, bias, out, out_bias = (self.w["landmarks_cross_attn.cross_attn.attn." + n] for n in names)
        query, keys = x.transpose(0, 1), regions.transpose(0, 1)
        seen, _ = functional.multi_head_attention_forward(
            query, keys, keys, x.shape[-1], FUSION_HEADS, weight, bias, None, None, False, 0.0, out, out_bias,
            need_weights=False,
        )  # fmt: skip
        return seen.transpose(0, 1)

    @torch.inference_mode()
    def logits(self, ids, pixels=None, points=None, decoder=None):
        """[rows, vocabulary] of a prompt with one medium or none. decoder: this model's, or one with an adapter."""
        frames = iter([] if pixels is None else self.see("video" if len(pixels) > 1 else "image", pixels, points))
        words = self.w["embed_tokens.weight"]
        rows = torch.cat([next(frames) if i == MEDIA_SLOT else words[i : i + 1] for i in ids])
        return (decoder or self.decoder)(inputs_embeds=rows[None]).logits[0]

    def losses(self, ids, labels, pixels, points, decoder=None):
        """Of every word of a prompt with a picture that is to be learned; the row before it predicts it."""
        logits = self.logits(ids, pixels, points, decoder)
        slots = len(logits) - len(ids) + 1  # rows of the picture
        targets = torch.cat([torch.full((slots if i == MEDIA_SLOT else 1,), t) for i, t in zip(ids, labels)])
        learned = targets[1:] != -100
        return functional.cross_entropy(logits[:-1][learned], targets[1:][learned], reduction="none")
