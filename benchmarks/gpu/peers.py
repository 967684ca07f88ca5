"""Times forward passes and updates of a vision transformer in PyTorch and in JAX.

The sizes are a JSON object in the only argument. Each row is a JSON object on
stdout; a library that is not installed is named on stderr.
"""
import json
import statistics
import sys
import time

SIZE = json.loads(sys.argv[1])
UNITS, LAYERS, HEADS, MLP, BATCH = (SIZE[k] for k in ("units", "layers", "heads", "mlp", "batch"))


def timed(tool, call, precision, step, memory):
    """Prints the row of a call; step waits for the device."""
    started = time.perf_counter()
    step()
    first = time.perf_counter() - started
    seconds = []
    for _ in range(SIZE["repeat"]):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    row = {"tool": tool, "call": call, "precision": precision, "first_seconds": first,
           "seconds": statistics.median(seconds)}
    if memory() is not None:
        row["memory_mib"] = memory()
    print(json.dumps(row), flush=True)


def torch_rows():
    import torch
    from torch import nn

    device = "cuda" if torch.cuda.is_available() else "cpu"

    class ViT(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, UNITS, 4, 4)
            self.token = nn.Parameter(torch.zeros(1, 1, UNITS))
            self.positions = nn.Parameter(torch.zeros(1, 65, UNITS))
            layer = nn.TransformerEncoderLayer(UNITS, HEADS, MLP, 0.0, "gelu", 1e-12, batch_first=True, norm_first=True)
            self.layers = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(UNITS), enable_nested_tensor=False)
            self.head = nn.Linear(UNITS, 10)

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
            return self.head(self.layers(x)[:, 0])

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    def memory():
        return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None

    images = torch.randn(BATCH, 3, 32, 32, device=device)
    labels = torch.zeros(BATCH, dtype=torch.long, device=device)
    precisions = [("float32", False, False), ("bfloat16 products", False, True)]
    if device == "cuda":
        precisions.append(("TF32 products", True, False))
    for name, tf32, half in precisions:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        net = ViT().to(device)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-4, weight_decay=0.05, fused=device == "cuda")

        def loss():
            with torch.autocast(device, torch.bfloat16, enabled=half):
                logits = net(images)
            return nn.functional.cross_entropy(logits.float(), labels)

        def forward():
            with torch.no_grad():
                loss()
            wait()

        def update():
            optimizer.zero_grad(set_to_none=True)
            loss().backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            wait()

        timed("PyTorch " + torch.__version__, "forward pass and loss", name, forward, memory)
        timed("PyTorch " + torch.__version__, "update", name, update, memory)


def jax_rows():
    import jax
    import jax.numpy as jnp

    tool = "JAX " + jax.__version__
    width = UNITS // HEADS
    keys = iter(jax.random.split(jax.random.key(0), 4 + 6 * LAYERS))

    def linear(n, m):
        return {"w": 0.02 * jax.random.normal(next(keys), (n, m)), "b": jnp.zeros(m)}

    def norm():
        return {"g": jnp.ones(UNITS), "b": jnp.zeros(UNITS)}

    params = {"patches": linear(48, UNITS), "token": jnp.zeros((1, 1, UNITS)), "positions": jnp.zeros((1, 65, UNITS)),
              "norm": norm(), "head": linear(UNITS, 10), "layers": [
                  {"qkv": linear(UNITS, 3 * UNITS), "out": linear(UNITS, UNITS), "up": linear(UNITS, MLP),
                   "down": linear(MLP, UNITS), "n1": norm(), "n2": norm()} for _ in range(LAYERS)]}
    images = jax.random.normal(next(keys), (BATCH, 3, 32, 32))

    def loss(params, dtype):
        def apply(p, x):
            return (x.astype(dtype) @ p["w"].astype(dtype) + p["b"].astype(dtype)).astype(jnp.float32)

        def normed(p, x):
            x = x - x.mean(-1, keepdims=True)
            return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-12) * p["g"] + p["b"]

        def heads(x):
            return x.reshape(BATCH, 65, HEADS, width).transpose(0, 2, 1, 3).astype(dtype)

        x = images.reshape(BATCH, 3, 8, 4, 8, 4).transpose(0, 2, 4, 1, 3, 5).reshape(BATCH, 64, 48)
        x = apply(params["patches"], x)
        x = jnp.concatenate([jnp.broadcast_to(params["token"], (BATCH, 1, UNITS)), x], 1) + params["positions"]
        for p in params["layers"]:
            q, k, v = (heads(part) for part in jnp.split(apply(p["qkv"], normed(p["n1"], x)), 3, -1))
            shares = jax.nn.softmax((q @ k.swapaxes(-1, -2)).astype(jnp.float32) / width**0.5)
            y = (shares.astype(dtype) @ v).transpose(0, 2, 1, 3).reshape(BATCH, 65, UNITS)
            x = x + apply(p["out"], y)
            x = x + apply(p["down"], jax.nn.gelu(apply(p["up"], normed(p["n2"], x)), approximate=False))
        logits = apply(params["head"], normed(params["norm"], x)[:, 0])
        return -jax.nn.log_softmax(logits)[:, 0].mean()

    def memory():
        stats = jax.devices()[0].memory_stats()
        return stats["peak_bytes_in_use"] / 2**20 if stats else None

    precisions = [("float32", jnp.float32, "highest"), ("bfloat16 products", jnp.bfloat16, "highest")]
    if jax.default_backend() == "gpu":
        precisions.append(("TF32 products", jnp.float32, "tensorfloat32"))
    for name, dtype, products in precisions:
        with jax.default_matmul_precision(products):
            state = (params, jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params))
            forward = jax.jit(lambda p: loss(p, dtype))

            @jax.jit
            def update(state):
                p, m, v = state
                g = jax.grad(lambda p: loss(p, dtype))(p)
                size = sum(jnp.sum(x * x) for x in jax.tree.leaves(g)) ** 0.5
                g = jax.tree.map(lambda x: x * jnp.minimum(1, 1 / (size + 1e-6)), g)
                m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
                v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
                p = jax.tree.map(lambda p, m, v: p - 1e-4 * (m / (v**0.5 + 1e-8) + 0.05 * p), p, m, v)
                return p, m, v

            timed(tool, "forward pass and loss", name, lambda: forward(params).block_until_ready(), memory)

            def step():
                nonlocal state
                state = jax.block_until_ready(update(state))

            timed(tool, "update", name, step, memory)


for rows in (torch_rows, jax_rows):
    try:
        rows()
    except ImportError as e:
        print(f"{sys.executable}: {e}", file=sys.stderr)
