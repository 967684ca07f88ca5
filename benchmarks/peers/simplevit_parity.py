"""Writes a SimpleViT of vit-pytorch as a checkpoint, or compares logits with it.

usage: simplevit_parity.py [--seed N] write DIR IMAGES
       simplevit_parity.py check DIR IMAGES LOGITS
       simplevit_parity.py reference

write makes a directory DIR with config.json and a state dict of a SimpleViT with
random weights, and a file IMAGES with pixel_values [N, C, H, W]. check loads the
state dict of DIR, which must fit exactly, and exits with 1 if a logit differs by
more than 1e-4 from those in LOGITS. reference prints the logits that
models/simplevit_test.go holds, of weights and images made of sines.
"""

import argparse
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file
from vit_pytorch.simple_vit import SimpleViT

TOLERANCE = 1e-4
CONFIG = {
    "architectures": ["SimpleViT"], "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "head_dim": 12,
    "intermediate_size": 64, "image_size": 32, "patch_size": 4, "num_channels": 3,
    "id2label": {str(i): f"class {i}" for i in range(10)},
}


def build(c):
    return SimpleViT(
        image_size=c["image_size"], patch_size=c["patch_size"], num_classes=len(c["id2label"]), dim=c["hidden_size"],
        depth=c["num_hidden_layers"], heads=c["num_attention_heads"], mlp_dim=c["intermediate_size"],
        channels=c["num_channels"], dim_head=c["head_dim"],
    ).eval()


def write(directory, images, seed):
    torch.manual_seed(seed)
    model = build(CONFIG)
    for p in model.parameters():  # norms and biases too, and weights large enough to matter
        p.data.add_(0.2 * torch.randn_like(p))
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(CONFIG, indent=2))
    save_file(model.state_dict(), directory / "model.safetensors", {"format": "pt"})
    save_file({"pixel_values": torch.randn(24, CONFIG["num_channels"], CONFIG["image_size"], CONFIG["image_size"])}, images)


@torch.no_grad()
def check(directory, images, logits):
    model = build(json.loads((directory / "config.json").read_text()))
    model.load_state_dict(load_file(directory / "model.safetensors"), strict=True)
    theirs, ours = model(load_file(images)["pixel_values"]), load_file(logits)["logits"]
    if ours.shape != theirs.shape:
        sys.exit(f"logits have shape {tuple(ours.shape)}, vit-pytorch gives {tuple(theirs.shape)}")
    # A NaN on either side makes the difference NaN, which is not within.
    worst = (ours.double() - theirs.double()).abs().max().item()
    print(f"torch {torch.__version__}: {len(ours)} images, logits up to {theirs.abs().max().item():.3g}, max |difference| {worst:.2e}")
    if not worst <= TOLERANCE:
        sys.exit(1)


@torch.no_grad()
def reference():
    model = build(CONFIG | {
        "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 3, "intermediate_size": 12,
        "image_size": 6, "patch_size": 2, "id2label": {"0": "a", "1": "b", "2": "c"},
    }).double()
    for k, (_, p) in enumerate(sorted(model.named_parameters())):
        p.copy_(torch.sin(0.7 * torch.arange(p.numel()).double() + k).float().reshape(p.shape))
    images = torch.sin(0.3 * torch.arange(2 * 3 * 6 * 6).double()).float().reshape(2, 3, 6, 6)
    print([round(v, 7) for v in model(images.double()).flatten().tolist()])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["write", "check", "reference"])
    parser.add_argument("directory", metavar="DIR", type=pathlib.Path, nargs="?")
    parser.add_argument("images", metavar="IMAGES", nargs="?")
    parser.add_argument("logits", metavar="LOGITS", nargs="?")
    parser.add_argument("--seed", type=int, default=0, help="of the weights that write draws")
    args = parser.parse_args()
    given = sum(v is not None for v in (args.directory, args.images, args.logits))
    if given != {"write": 2, "check": 3, "reference": 0}[args.what]:
        parser.error("write takes DIR and IMAGES, check also LOGITS, reference nothing")
    if args.what == "write":
        write(args.directory, args.images, args.seed)
    elif args.what == "check":
        check(args.directory, args.images, args.logits)
    else:
        reference()


if __name__ == "__main__":
    main()
