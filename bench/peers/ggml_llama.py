"""llama.cpp's decoder of the same sizes, random weights: prefill, or with --decode one token after --tokens others."""

import gguf
import llama_cpp
import numpy as np

from serving import parse, serve

args = parse(__doc__)
TYPES = {"bf16": gguf.GGMLQuantizationType.BF16, "q8": gguf.GGMLQuantizationType.Q8_0,
         "q4": gguf.GGMLQuantizationType.Q4_0}
DIM, FFN, HEADS, VOCABULARY = 4096, 11008, 32, 32000


def write(path):
    rng = np.random.default_rng(0)
    kind = TYPES[args.weights]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(args.layers)
    writer.add_context_length(4096)
    writer.add_embedding_length(DIM)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(DIM // HEADS)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("none")

    def matrix(name, rows, columns):
        few = rng.standard_normal((64, columns), dtype=np.float32) / np.sqrt(columns)
        packed = gguf.quants.quantize(few, kind)
        writer.add_tensor(name, np.tile(packed, (rows // 64, 1)), raw_dtype=kind)

    def norm(name):
        writer.add_tensor(name, np.ones(DIM, np.float32))

    matrix("token_embd.weight", VOCABULARY, DIM)
    for i in range(args.layers):
        norm(f"blk.{i}.attn_norm.weight")
        norm(f"blk.{i}.ffn_norm.weight")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"blk.{i}.{name}.weight", DIM, DIM)
        matrix(f"blk.{i}.ffn_gate.weight", FFN, DIM)
        matrix(f"blk.{i}.ffn_up.weight", FFN, DIM)
        matrix(f"blk.{i}.ffn_down.weight", DIM, FFN)
    norm("output_norm.weight")
    matrix("output.weight", VOCABULARY, DIM)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


path = args.folder / f"random-{args.layers}-{args.weights}.gguf"
if not path.exists():
    args.folder.mkdir(parents=True, exist_ok=True)
    write(path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)
model = llama_cpp.Llama(str(path), n_ctx=args.tokens + 8, n_batch=512, n_threads=args.threads,
                        n_threads_batch=args.threads, verbose=False)
ids = list(range(1, args.tokens + 1))


def prefill():
    model.reset()
    model.eval(ids)


def step():
    model.n_tokens = args.tokens
    model.eval([7])


if args.decode:
    prefill()
description = {"peer": "llama.cpp (llama-cpp-python " + llama_cpp.__version__ + ")",
               "part": "decode" if args.decode else "prefill", "weights": args.weights, "layers": args.layers,
               "tokens": args.tokens}
serve(description, step if args.decode else prefill, args.threads)
