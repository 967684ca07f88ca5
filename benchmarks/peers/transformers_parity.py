"""Compares the logits of a checkpoint in transformers with those that Go wrote.

usage: transformers_parity.py DIR IMAGES LOGITS

DIR is a directory of ViTForImageClassification, IMAGES a safetensors file with
pixel_values [N, C, H, W], LOGITS one with logits [N, classes]. Exits with 1 if
transformers finds a tensor missing, left over or misshapen, or if a logit
differs by more than 1e-4.
"""

import argparse
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors.torch import load_file
from transformers import ViTForImageClassification

TOLERANCE = 1e-4


def load(directory):
    """Opens a checkpoint and demands that every tensor found its place."""
    model, info = ViTForImageClassification.from_pretrained(
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
    parser.add_argument("images", metavar="IMAGES")
    parser.add_argument("logits", metavar="LOGITS")
    args = parser.parse_args()

    model = load(args.directory)
    images = load_file(args.images)["pixel_values"]
    ours = load_file(args.logits)["logits"]
    theirs = torch.cat([model(pixel_values=part).logits for part in images.split(50)])
    if ours.shape != theirs.shape:
        sys.exit(f"logits have shape {tuple(ours.shape)}, transformers gives {tuple(theirs.shape)}")
    # A NaN on either side makes the difference NaN, which is not within.
    worst = (ours.double() - theirs.double()).abs().max().item()
    print(
        f"torch {torch.__version__}, transformers {transformers.__version__}: {len(images)} images, "
        f"logits up to {theirs.abs().max().item():.3g}, max |difference| {worst:.2e}"
    )
    if not worst <= TOLERANCE:
        sys.exit(1)


if __name__ == "__main__":
    main()
