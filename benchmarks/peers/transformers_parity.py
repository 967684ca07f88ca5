"""Compares the logits of a checkpoint in transformers with those that Go wrote.

usage: transformers_parity.py DIR SAMPLES LOGITS

DIR is a directory of ViTForImageClassification, BertForMaskedLM or
BertForSequenceClassification, SAMPLES a safetensors file with pixel_values
[N, C, H, W] or input_ids [N, T] and, optionally, attention_mask and
token_type_ids, LOGITS one with logits [N, classes] or [N, T, words]. Exits with 1
if transformers finds a tensor missing, left over or misshapen, or if a logit
differs by more than 1e-4.
"""

import argparse
import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors.torch import load_file

TOLERANCE = 1e-4
CLASSES = ["ViTForImageClassification", "BertForMaskedLM", "BertForSequenceClassification"]


def load(directory):
    """Opens a checkpoint and demands that every tensor found its place."""
    (name,) = json.loads((pathlib.Path(directory) / "config.json").read_text())["architectures"]
    if name not in CLASSES:
        sys.exit(f"{directory}: {name} is none of {', '.join(CLASSES)}")
    model, info = getattr(transformers, name).from_pretrained(
        directory, local_files_only=True, output_loading_info=True
    )
    problems = {what: list(names) for what, names in info.items() if names}
    if problems:
        sys.exit(f"{directory}: {problems}")
    return model.eval()


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("samples", metavar="SAMPLES")
    parser.add_argument("logits", metavar="LOGITS")
    args = parser.parse_args()

    model = load(args.directory)
    inputs = {k: v if k == "pixel_values" else v.long() for k, v in load_file(args.samples).items() if k != "labels"}
    ours = load_file(args.logits)["logits"]
    n = len(next(iter(inputs.values())))
    theirs = torch.cat([model(**{k: v[i : i + 50] for k, v in inputs.items()}).logits for i in range(0, n, 50)])
    if ours.shape != theirs.shape:
        sys.exit(f"logits have shape {tuple(ours.shape)}, transformers gives {tuple(theirs.shape)}")
    # A NaN on either side makes the difference NaN, which is not within.
    worst = (ours.double() - theirs.double()).abs().max().item()
    print(
        f"torch {torch.__version__}, transformers {transformers.__version__}: {type(model).__name__}, {n} samples, "
        f"logits up to {theirs.abs().max().item():.3g}, max |difference| {worst:.2e}"
    )
    if not worst <= TOLERANCE:
        sys.exit(1)


if __name__ == "__main__":
    main()
