#!/usr/bin/env python3
"""A model folder with a geometry of its own: random weights, grouped-query attention, tied head, linear rope scaling, another
tower, masked fusion; the tokenizer of a given folder.   usage: make_other_model.py TOKENIZER_FOLDER OUT"""
import json
import pathlib
import random
import shutil
import struct
import sys

DIM, FFN, HEADS, KV, VOCAB, LAYERS = 24, 40, 6, 2, 32000, 2
T_DIM, T_FFN, SIDE, PATCH, T_LAYERS = 16, 24, 224, 14, 3
POINTS = {"face": 17, "eyebrow1": 5, "eyebrow2": 5, "nose": 4, "nostril": 5, "eye1": 6, "eye2": 6, "lips": 12, "teeth": 8}


def linear(name, rows, width, bias=True):
    shapes = {name + ".weight": [rows, width]}
    return {**shapes, name + ".bias": [rows]} if bias else shapes


def norm(name, width):
    return {name + ".weight": [width], name + ".bias": [width]}


def shapes():
    t = "model.image_tower.image_tower."
    s = {t + "embeddings.class_embedding": [T_DIM], t + "embeddings.patch_embedding.weight": [T_DIM, 3, PATCH, PATCH],
         t + "embeddings.position_embedding.weight": [(SIDE // PATCH) ** 2 + 1, T_DIM]}
    s |= norm(t + "pre_layrnorm", T_DIM) | norm(t + "post_layernorm", T_DIM)
    for i in range(T_LAYERS):
        layer = f"{t}encoder.layers.{i}."
        for p in ("q", "k", "v", "out"):
            s |= linear(f"{layer}self_attn.{p}_proj", T_DIM, T_DIM)
        s |= linear(layer + "mlp.fc1", T_FFN, T_DIM) | linear(layer + "mlp.fc2", T_DIM, T_FFN)
        s |= norm(layer + "layer_norm1", T_DIM) | norm(layer + "layer_norm2", T_DIM)
    s |= linear("model.mm_projector.0", DIM, T_DIM) | linear("model.mm_projector.2", DIM, DIM)
    for region, points in POINTS.items():
        s |= linear(f"model.landmarks_projector.region_layers.{region}", DIM, 2 * points)
    s |= linear("model.global_landmarks_projector", DIM, 136)
    for p in "qkv":
        s |= linear(f"model.landmarks_cross_attn.cross_attn.{p}_proj", DIM, DIM)
    s |= linear("model.landmarks_cross_attn.linear_proj", DIM, DIM)
    s |= norm("model.landmarks_cross_attn.cross_attn.ln", DIM) | norm("model.landmarks_cross_attn.ln", DIM)
    s |= {"model.embed_tokens.weight": [VOCAB, DIM], "model.norm.weight": [DIM]}
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        head = DIM // HEADS
        s |= linear(layer + "self_attn.q_proj", DIM, DIM, False) | linear(layer + "self_attn.o_proj", DIM, DIM, False)
        s |= linear(layer + "self_attn.k_proj", KV * head, DIM, False) | linear(layer + "self_attn.v_proj", KV * head, DIM, False)
        s |= linear(layer + "mlp.gate_proj", FFN, DIM, False) | linear(layer + "mlp.up_proj", FFN, DIM, False)
        s |= linear(layer + "mlp.down_proj", DIM, FFN, False)
        s |= {layer + "input_layernorm.weight": [DIM], layer + "post_attention_layernorm.weight": [DIM]}
    return s


def main(tokenizer, out):
    out.mkdir(parents=True)
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / name, out / name)
    rng, header, data = random.Random(1), {}, bytearray()
    for name, shape in sorted(shapes().items()):
        count = 1
        for n in shape:
            count *= n
        values = struct.pack(f"<{count}f", *(rng.gauss(0, 0.3) for _ in range(count)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    (out / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (out / "config.json").write_text(json.dumps({
        "model_type": "llava", "hidden_act": "silu", "vocab_size": VOCAB, "hidden_size": DIM, "intermediate_size": FFN,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV, "rms_norm_eps": 1e-5,
        "rope_scaling": {"type": "linear", "factor": 2.0}, "tie_word_embeddings": True, "max_position_embeddings": 1024,
        "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
        "landmarks_projector_type": "landmarks_region_projector", "global_landmarks_projector_type": "linear",
        "cross_attn_type": "masked"}))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
