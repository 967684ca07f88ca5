"""Compares what Hugging Face's transformers and this library compute from one checkpoint.

usage: transformers_parity.py DIR SAMPLES LOGITS
       transformers_parity.py families SCRATCH [CLASS...]
       transformers_parity.py pairs SCRATCH A B [A B...]

The first form compares the logits of the checkpoint DIR on SAMPLES, a safetensors file
of pixel_values [N, C, H, W] or of input_ids [N, T] and, optionally, attention_mask and
token_type_ids, with the LOGITS that benchmarks/peers/logits wrote.

The other forms take tiny checkpoints of every class, or of those named, or pairs of
checkpoints that there are, through both, from the root of the repository:

  read     of a checkpoint a, which transformers wrote with random weights unless it was given,
           both compute the logits
  fused    Go fuses a with another, b, by matching; transformers computes the logits
  carried  the same with weights 0 and 1, which is b in the basis of a: transformers
           computes the logits of b (of the outputs of encoders it says nothing)
  again    transformers writes the fused checkpoint anew; Go computes the same bits

Exits with 1 if transformers finds a tensor missing, left over or misshapen, or if a
number differs by more than 1e-4. Padding does not count.
"""

import json
import os
import pathlib
import subprocess
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import torch
import transformers
from safetensors.torch import load_file, save_file

TOLERANCE = 1e-4
IMAGES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, image_size=16,
              patch_size=4, num_channels=3)
TEXTS = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, vocab_size=31,
             max_position_embeddings=20, pad_token_id=1)
DISTIL = dict(dim=16, n_layers=2, n_heads=4, hidden_dim=24, vocab_size=31, max_position_embeddings=20, pad_token_id=1)
GPT2 = dict(n_embd=16, n_layer=2, n_head=4, vocab_size=31, n_positions=20)
LLAMA = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=24,
             vocab_size=31, max_position_embeddings=20, rope_parameters=dict(rope_type="default", rope_theta=100.0))
NEOX = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, vocab_size=31,
            max_position_embeddings=20)
LABELS = dict(num_labels=5)
ENCODERS = ("ViTModel", "BertModel")  # put out features, in the basis of the anchor
CASES = [  # class and configuration, beside which weights are drawn
    ("ViTForImageClassification", IMAGES | LABELS),
    ("ViTModel", IMAGES),
    ("DeiTForImageClassification", IMAGES | LABELS),
    ("DeiTForImageClassificationWithTeacher", IMAGES | LABELS),
    ("BertForMaskedLM", TEXTS),
    ("BertForSequenceClassification", TEXTS | LABELS),
    ("BertForPreTraining", TEXTS),
    ("BertModel", TEXTS),
    ("RobertaForMaskedLM", TEXTS),
    ("RobertaForSequenceClassification", TEXTS | LABELS),
    ("DistilBertForMaskedLM", DISTIL),
    ("DistilBertForSequenceClassification", DISTIL | LABELS),
    ("GPT2LMHeadModel", GPT2),
    ("GPT2LMHeadModel", GPT2 | dict(tie_word_embeddings=False)),
    ("LlamaForCausalLM", LLAMA),
    ("LlamaForCausalLM", LLAMA | dict(num_key_value_heads=4, tie_word_embeddings=True)),
    ("Qwen2ForCausalLM", LLAMA),
    ("MistralForCausalLM", LLAMA | dict(head_dim=6)),
    ("Qwen3ForCausalLM", LLAMA | dict(head_dim=6)),
    ("GPTNeoXForCausalLM", NEOX),
    ("GPTNeoXForCausalLM", NEOX | dict(use_parallel_residual=False, tie_word_embeddings=True)),
]


def load(directory):
    """Opens a checkpoint and demands that every tensor found its place."""
    (name,) = json.loads((pathlib.Path(directory) / "config.json").read_text())["architectures"]
    model, info = getattr(transformers, name).from_pretrained(
        directory, local_files_only=True, output_loading_info=True
    )
    problems = {what: list(names) for what, names in info.items() if names}
    if problems:
        sys.exit(f"{directory}: {problems}")
    return model.eval().float()


@torch.no_grad()
def outputs(model, samples):
    """Computes logits, or what an encoder puts out."""
    inputs = {k: v if k == "pixel_values" else v.long() for k, v in samples.items() if k != "labels"}
    n = len(next(iter(inputs.values())))
    batches = [model(**{k: v[i : i + 50] for k, v in inputs.items()}) for i in range(0, n, 50)]
    for name in ("logits", "prediction_logits", "last_hidden_state"):
        if hasattr(batches[0], name):
            return torch.cat([getattr(b, name) for b in batches])
    sys.exit(f"{type(model).__name__} has no logits")


def apart(ours, theirs, samples):
    """Returns the largest difference on tokens that are no padding. A NaN on either side gives a NaN."""
    if ours.shape != theirs.shape:
        sys.exit(f"logits have shape {tuple(ours.shape)}, transformers gives {tuple(theirs.shape)}")
    gaps = (ours.double() - theirs.double()).abs()
    if "attention_mask" in samples and gaps.dim() == 3:
        gaps = gaps[samples["attention_mask"] == 1]
    return gaps.max().item()


def check(directory, samples, logits):
    model, samples = load(directory), load_file(samples)
    theirs = outputs(model, samples)
    worst = apart(load_file(logits)["logits"], theirs, samples)
    print(
        f"torch {torch.__version__}, transformers {transformers.__version__}: {type(model).__name__}, "
        f"{len(theirs)} samples, logits up to {theirs.abs().max().item():.3g}, max |difference| {worst:.2e}"
    )
    return worst <= TOLERANCE


@torch.no_grad()
def write(name, config, directory, seed):
    """Writes a checkpoint with random weights, those of norms and biases too."""
    torch.manual_seed(seed)
    cls = getattr(transformers, name)
    model = cls(cls.config_class(**config)).eval()
    for p in model.parameters():
        p.add_(0.2 * torch.randn_like(p))
    model.save_pretrained(directory)


def draw(config):
    """Draws samples: images, or texts of which some end in padding."""
    torch.manual_seed(3)
    if "image_size" in config:
        return {"pixel_values": torch.randn(6, config["num_channels"], config["image_size"], config["image_size"])}
    ids = torch.randint(2, config["vocab_size"], (6, 12), dtype=torch.int32)
    mask = torch.ones_like(ids)
    mask[1, 9:], mask[4, 5:] = 0, 0
    if "pad_token_id" in config:
        ids[mask == 0] = config["pad_token_id"]
    return {"input_ids": ids, "attention_mask": mask}


class Go:
    """The programs of this library, built once."""

    def __init__(self, scratch):
        self.scratch, self.bin = scratch, scratch / "bin"
        packages = ["./examples/fuse", "./benchmarks/peers/logits"]
        subprocess.run(["go", "build", "-o", f"{self.bin}{os.sep}", *packages], check=True)

    def run(self, program, *args):
        done = subprocess.run([self.bin / program, *args], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{program} {' '.join(map(str, args))}: {done.stderr}")

    def logits(self, directory, samples):
        self.run("logits", "-out", self.scratch / "logits.safetensors", directory, samples)
        return load_file(self.scratch / "logits.safetensors")["logits"]

    def fuse(self, out, a, b, **recipe):
        (self.scratch / "recipe.json").write_text(json.dumps(recipe))
        self.run("fuse", "-config", self.scratch / "recipe.json", "-out", out, a, b)


def through(go, read, a, b, samples, place):
    """Takes a pair of checkpoints, and one to read, through both libraries and returns what differs, by step."""
    fused, carried, again = (place / d for d in ("fused", "carried", "again"))
    place.mkdir(parents=True, exist_ok=True)
    file = place / "samples.safetensors"
    save_file(samples, file)
    found = {"read": apart(go.logits(read, file), outputs(load(read), samples), samples)}
    go.fuse(fused, a, b, method="match")
    ours, theirs = go.logits(fused, file), load(fused)
    found["fused"] = apart(ours, outputs(theirs, samples), samples)
    go.fuse(carried, a, b, method="match", weights=[0, 1])
    if type(theirs).__name__ not in ENCODERS:
        found["carried"] = apart(outputs(load(carried), samples), outputs(load(b), samples), samples)
    theirs.save_pretrained(again)
    found["again"] = apart(go.logits(again, file), ours, samples)
    return found, ours.abs().max().item()


def drawn_pairs(scratch, names):
    """Writes a pair of every class."""
    for i, (name, config) in enumerate(CASES):
        if names and name not in names:
            continue
        place = scratch / f"{i}-{name}"
        write(name, config, place / "a", 1)
        write(name, config, place / "b", 2)
        tied = config.get("tie_word_embeddings")
        yield name + {True: ", tied", False: ", untied", None: ""}[tied], place / "a", place / "a", place / "b", config, place


def given_pairs(scratch, directories):
    """Returns the pairs that were named, to be fused in float32: rounding to less is a difference of its own."""
    for a, b in zip(map(pathlib.Path, directories[::2]), map(pathlib.Path, directories[1::2]), strict=True):
        place = scratch / a.name
        load(a).save_pretrained(place / "a")
        load(b).save_pretrained(place / "b")
        yield f"{a.name}, {b.name}", a, place / "a", place / "b", json.loads((a / "config.json").read_text()), place


def table(scratch, pairs):
    go = Go(scratch)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}\n")
    print("| class | logits up to | read | fused | carried | again |\n|---|---|---|---|---|---|")
    fine = True
    for label, read, a, b, config, place in pairs:
        found, largest = through(go, read, a, b, draw(config), place)
        fine = fine and all(v <= TOLERANCE for v in found.values()) and found["again"] == 0
        cells = [f"{found[step]:.1e}" if step in found else "" for step in ("read", "fused", "carried", "again")]
        print(f"| {label} | {largest:.3g} | {' | '.join(cells)} |", flush=True)
    return fine


def main(args):
    if len(args) >= 2 and args[0] in ("families", "pairs"):
        scratch = pathlib.Path(args[1])
        scratch.mkdir(parents=True, exist_ok=True)
        fine = table(scratch, {"families": drawn_pairs, "pairs": given_pairs}[args[0]](scratch, args[2:]))
    elif len(args) == 3 and not args[0].startswith("-"):
        fine = check(*args)
    else:
        sys.exit(__doc__)
    if not fine:
        sys.exit(1)


if __name__ == "__main__":
    transformers.utils.logging.disable_progress_bar()
    main(sys.argv[1:])
