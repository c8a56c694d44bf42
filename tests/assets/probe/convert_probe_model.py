#!/usr/bin/env python3
"""Writes the demo model into the official checkpoint layout: once, from the files it was trained into.

usage: convert_probe_model.py PROBE_FOLDER OUT_FOLDER FACES_FOLDER

PROBE_FOLDER holds probe_model.safetensors, tokenizer.model, golden.json and three pictures. OUT_FOLDER gets config.json,
model.safetensors, tokenizer.model and tokenizer_config.json; FACES_FOLDER the pictures with their landmarks in pixels
and the expected answers. Values are copied bit by bit: only names change, and fused q, k, v rows are split.
"""
import json
import pathlib
import shutil
import struct
import sys

REGIONS = ["face", "eyebrow1", "eyebrow2", "nose", "nostril", "eye1", "eye2", "lips", "teeth"]
TOWER = "model.image_tower.image_tower."
VIT = {"n1": "layer_norm1", "n2": "layer_norm2", "o": "self_attn.out_proj", "f1": "mlp.fc1", "f2": "mlp.fc2"}
LLAMA = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
         "g": "mlp.gate_proj", "u": "mlp.up_proj", "dn": "mlp.down_proj",
         "n1": "input_layernorm", "n2": "post_attention_layernorm"}
PLAIN = {"vit.cls": TOWER + "embeddings.class_embedding", "vit.patch.weight": TOWER + "embeddings.patch_embedding.weight",
         "vit.pos": TOWER + "embeddings.position_embedding.weight", "llm.emb.weight": "model.embed_tokens.weight",
         "llm.n.w": "model.norm.weight", "rpp": "model.landmarks_cross_attn.cross_attn.distance_scale"}
PREFIX = {"vit.pre": TOWER + "pre_layrnorm", "vit.post": TOWER + "post_layernorm", "p1": "model.mm_projector.0",
          "p2": "model.mm_projector.2", "glob": "model.global_landmarks_projector", "w": "model.landmarks_cross_attn.linear_proj",
          **{k: f"model.landmarks_cross_attn.cross_attn.{k}_proj" for k in "qkv"}}


def read_safetensors(path):
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    base = 8 + size
    return {k: (v["dtype"], v["shape"], raw[base + v["data_offsets"][0]:base + v["data_offsets"][1]]) for k, v in header.items()}


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in sorted(tensors.items()):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors[n][2] for n in sorted(tensors)))


def rename(name, tensor):
    """The official tensors that one of the probe's becomes."""
    dtype, shape, data = tensor
    leaf = name.rsplit(".", 1)[-1]
    if name in PLAIN:
        return {PLAIN[name]: (dtype, shape or [1], data)}
    if name.startswith("reg."):
        return {f"model.landmarks_projector.region_layers.{REGIONS[int(name.split('.')[1])]}.{leaf}": tensor}
    if name.startswith("vit.b."):
        _, _, i, part, _ = name.split(".")
        layer = f"{TOWER}encoder.layers.{i}."
        if part != "qkv":
            return {f"{layer}{VIT[part]}.{leaf}": tensor}
        third = len(data) // 3
        return {f"{layer}self_attn.{p}_proj.{leaf}": (dtype, [shape[0] // 3] + shape[1:], data[n * third:(n + 1) * third])
                for n, p in enumerate("qkv")}
    if name.startswith("llm.b."):
        _, _, i, part, _ = name.split(".")
        return {f"model.layers.{i}.{LLAMA[part]}.weight": tensor}
    return {f"{PREFIX[name.rsplit('.', 1)[0]]}.{leaf}": tensor}


def config(c):
    return {
        "architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava", "hidden_act": "silu", "torch_dtype": "bfloat16",
        "vocab_size": c["vocab"], "hidden_size": c["dim"], "intermediate_size": c["ffn"], "num_hidden_layers": c["layers"],
        "num_attention_heads": c["heads"], "num_key_value_heads": c["heads"], "rms_norm_eps": c["rms_eps"],
        "rope_theta": c["rope_base"], "tie_word_embeddings": c["tied_embeddings"], "max_position_embeddings": 512,
        "bos_token_id": c["bos"], "eos_token_id": c["eos"], "mm_projector_type": "mlp2x_gelu", "mm_hidden_size": c["vit_dim"],
        "mm_vision_select_layer": -1, "mm_vision_select_feature": "patch",
        "landmarks_projector_type": "landmarks_region_projector", "global_landmarks_projector_type": "linear",
        "cross_attn_type": "masked", "use_landmark_tokens": False,
        "facellava": {"tower_heads": c["vit_heads"], "prompt_template": "plain", "bos": "after_media",
                      "landmark_normalisation": "by_picture", "crop": "aligned",
                      "fusion": {"policy": "paper", "heads": 4, "distance_scale": "stored"}},
    }


def main(probe, out, faces):
    golden = json.loads((probe / "golden.json").read_text())
    tensors = {}
    for name, tensor in read_safetensors(probe / "probe_model.safetensors").items():
        tensors.update(rename(name, tensor))
    out.mkdir(parents=True, exist_ok=True)
    faces.mkdir(parents=True, exist_ok=True)
    write_safetensors(out / "model.safetensors", tensors)
    (out / "config.json").write_text(json.dumps(config(golden["config"]), indent=1) + "\n")
    (out / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer", "legacy": True}, indent=1) + "\n")
    shutil.copyfile(probe / "tokenizer.model", out / "tokenizer.model")
    answers = []
    for sample in golden["samples"]:
        side = golden["config"]["image"]
        picture = pathlib.Path(sample["image"])
        shutil.copyfile(probe / picture, faces / picture)
        points = [[round(v * side, 6) for v in sample["landmarks"][i:i + 2]] for i in range(0, 136, 2)]
        (faces / picture.with_suffix(".json")).write_text(json.dumps(points) + "\n")
        answers.append({"image": sample["image"], "qa": [{k: qa[k] for k in ("question", "prompt_ids", "answer_ids", "answer")}
                                                         for qa in sample["qa"]]})
    (faces / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(pathlib.Path, sys.argv[1:]))
