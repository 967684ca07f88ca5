"""Writes small random decoders and what transformers puts out for them.

usage: decoder_goldens.py FOLDER

Every case is a folder with config.json, model.safetensors, inputs.safetensors
(input_ids and attention_mask) and outputs.safetensors (logits). All gains and biases are
drawn too. The test TestDecoderGoldens of package models reads them where
OTFUSE_DECODER_GOLDEN names FOLDER.
"""

import argparse
import json
import os
import pathlib

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors.torch import save_file

VOCAB, TOKENS, SAMPLES = 31, 24, 4
GATED = dict(
    vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
)


def rope(kind, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 100.0, **more}}


def cases():
    llama = {
        "llama-default": rope("default"),
        "llama-linear": rope("linear", factor=4.0),
        "llama-llama3": rope(
            "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
        ),
        "llama-yarn": rope("yarn", factor=4.0, original_max_position_embeddings=16),
        "llama-yarn-mscale": rope(
            "yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=8, beta_slow=2, mscale=1.2,
            mscale_all_dim=0.7, truncate=False,
        ),
        "llama-biases": {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    }
    for name, more in llama.items():
        yield name, transformers.LlamaForCausalLM, transformers.LlamaConfig(**{**GATED, **more})
    yield "mistral-window", transformers.MistralForCausalLM, transformers.MistralConfig(**GATED, sliding_window=5)
    window = dict(use_sliding_window=True, sliding_window=5, max_window_layers=1)
    yield "qwen2-window", transformers.Qwen2ForCausalLM, transformers.Qwen2Config(**GATED, **window)
    yield "qwen3", transformers.Qwen3ForCausalLM, transformers.Qwen3Config(**GATED)
    yield "qwen3-tied", transformers.Qwen3ForCausalLM, transformers.Qwen3Config(
        **GATED, **window, attention_bias=True, tie_word_embeddings=True
    )
    neox = dict(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64,
    )
    neox_class, neox_config = transformers.GPTNeoXForCausalLM, transformers.GPTNeoXConfig
    yield "gptneox", neox_class, neox_config(**neox)
    yield "gptneox-serial", neox_class, neox_config(**neox, use_parallel_residual=False, attention_bias=False)
    yield "gptneox-half", neox_class, neox_config(
        **neox, rope_parameters={"rope_type": "default", "rope_theta": 50.0, "partial_rotary_factor": 0.5}
    )
    gpt2 = dict(vocab_size=VOCAB, n_embd=16, n_layer=3, n_head=4, n_positions=32)
    for name, more in {
        "gpt2-crfm": dict(scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True),
        "gpt2-unscaled": dict(scale_attn_weights=False, tie_word_embeddings=False),
    }.items():
        yield name, transformers.GPT2LMHeadModel, transformers.GPT2Config(**gpt2, **more)


@torch.no_grad()
def write(folder, made, config):
    config._attn_implementation = "eager"
    model = made(config).eval()
    for name, p in model.named_parameters():
        if p.dim() > 1:
            p.normal_(std=1.5 / p.shape[-1] ** 0.5)
        elif name.endswith("bias"):
            p.normal_(std=0.3)
        else:
            p.normal_(mean=1.0, std=0.3)
    ids = torch.randint(VOCAB, (SAMPLES, TOKENS))
    mask = (torch.arange(TOKENS)[None] < torch.tensor([TOKENS, TOKENS, TOKENS - 3, TOKENS // 2])[:, None]).long()
    logits = model(input_ids=ids, attention_mask=mask).logits
    model.save_pretrained(folder)
    save_file({"input_ids": ids.int(), "attention_mask": mask.int()}, folder / "inputs.safetensors")
    save_file({"logits": logits.contiguous()}, folder / "outputs.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, metavar="FOLDER")
    args = parser.parse_args()
    for i, (name, made, config) in enumerate(cases()):
        torch.manual_seed(i)
        write(args.folder / name, made, config)
        print(name, json.loads((args.folder / name / "config.json").read_text())["architectures"][0])


if __name__ == "__main__":
    main()
