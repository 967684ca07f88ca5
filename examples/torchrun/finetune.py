"""Finetunes a checkpoint of otfuse, or any of transformers, on any number of processes.

    torchrun --nproc-per-node 8 finetune.py SOURCE TARGET SAMPLES [flags]

SOURCE and TARGET are directories as Hugging Face writes them; otfuse opens TARGET again.
SAMPLES is a safetensors file as examples/fuse takes: pixel_values or input_ids, and labels.

Every process makes its share of each batch, so that what is learned does not depend on
their number. The loss is the mean over the labels of the whole batch that count.
"""

import argparse
import os
import pathlib
import shutil

import torch
import torch.distributed as dist
import transformers
from safetensors.torch import load_file
from torch.nn.parallel import DistributedDataParallel

IGNORED = -100  # label of a position that counts in no loss


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("samples")
    parser.add_argument("--steps", type=int, default=100, help="updates")
    parser.add_argument("--batch", type=int, default=64, help="samples of an update, over all processes")
    parser.add_argument("--lr", type=float, default=1e-4, help="learning rate, which does not change")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0, help="of the order of the samples")
    return parser.parse_args()


def join():
    """Joins the processes that torchrun or Accelerate started; alone it is the only one."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29511"}.items():
        os.environ.setdefault(name, value)
    if not torch.cuda.is_available():
        dist.init_process_group("gloo")
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    dist.init_process_group("nccl")
    return device


def open_model(source):
    """Opens the class that config.json names."""
    name = transformers.AutoConfig.from_pretrained(source).architectures[0]
    return getattr(transformers, name).from_pretrained(source, dtype=torch.float32)


def order(count, args):
    """Yields the samples of each batch: a new order after each pass."""
    random = torch.Generator().manual_seed(args.seed)
    left = torch.empty(0, dtype=torch.long)
    for _ in range(args.steps):
        while len(left) < args.batch:
            left = torch.cat([left, torch.randperm(count, generator=random)])
        yield left[: args.batch]
        left = left[args.batch :]


def counted(model, labels):
    """Tells how many labels have a loss: a causal model learns no first token."""
    if "CausalLM" in type(model).__name__ or "LMHead" in type(model).__name__:
        labels = labels[:, 1:]
    return (labels != IGNORED).sum()


def main():
    args = parse()
    device = join()
    rank, processes = dist.get_rank(), dist.get_world_size()
    samples = load_file(args.samples)
    count = len(samples["labels"])
    if args.batch % processes or args.batch > count:
        raise SystemExit(f"a batch of {args.batch} does not fit {count} samples and {processes} processes")
    model = open_model(args.source).to(device).train()
    network = DistributedDataParallel(model, find_unused_parameters=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    for step, batch in enumerate(order(count, args)):
        mine = {name: values[batch[rank::processes]].to(device) for name, values in samples.items()}
        mine["labels"] = mine["labels"].long()
        own = counted(model, mine["labels"])
        total = own.clone()
        dist.all_reduce(total)
        # The mean over the processes, which DistributedDataParallel takes, becomes one over labels.
        loss = network(**mine).loss * own * processes / total if own else 0 * network(**mine).logits.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean = loss.detach() / processes
        dist.all_reduce(mean)
        if rank == 0:
            print(f"step {step} loss {mean.item():.6f}", flush=True)
    if rank == 0:
        model.save_pretrained(args.target)
        for path in pathlib.Path(args.source).iterdir():  # a tokenizer, an image processor
            to = pathlib.Path(args.target, path.name)
            if path.suffix in {".json", ".txt"} and not to.exists() and not path.name.endswith(".index.json"):
                shutil.copy(path, to)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
