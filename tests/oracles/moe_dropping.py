"""Golden: token dropping as MaxText's masks and einsums define it, evaluated with jax, gradients by jax.grad.

    python moe_dropping.py ../moe/dropping.json

Written from the description of MaxText's moe.py, not from q3c: one-hot choices, a running count per expert over tokens
and then slots, a choice kept while the count is within the capacity, a combine mask [batch, seq, expert, capacity], its
boolean cast to dispatch, and four einsums. Each case holds sizes, the factor, parameters, tokens, a cotangent, the
output, the kept choices per expert and the gradients of every parameter. Needs jax and numpy; float32 on the CPU.
"""

from __future__ import annotations

import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np

# batch, seq, experts, top, inner, capacity_factor, norm_topk_prob
CASES = [
    (2, 7, 4, 2, 3, 0.7, True),
    (1, 5, 3, 3, 2, 0.5, True),
    (3, 6, 5, 1, 2, 1.0, False),
    (2, 9, 2, 1, 2, 0.45, False),
    (1, 4, 5, 2, 2, 1.25, True),
    (2, 3, 4, 2, 2, 8.0, True),
]
EMBED = 3
VOCAB = 6


def capacity(seq: int, experts: int, top: int, factor: float) -> int:
    return int(max(math.ceil(seq * top / experts) * factor, factor))


def routed(params: dict, tokens: np.ndarray, top: int, factor: float, normed: bool):
    x = params["embedding"][tokens]
    batch, seq, _ = x.shape
    experts = params["gate"].shape[1]
    room = capacity(seq, experts, top, factor)
    weights, chosen = jax.lax.top_k(jax.nn.softmax(x @ params["gate"], axis=-1), top)
    if normed:
        weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
    one_hot = jax.nn.one_hot(chosen, experts, dtype=jnp.int32)
    count = jnp.cumsum(one_hot.reshape(batch, seq * top, experts), axis=1).reshape(one_hot.shape) * one_hot
    kept = one_hot * (count <= room)
    position = jnp.sum(count * kept, axis=2)
    probability = jnp.sum(one_hot * weights[..., None], axis=2) * jnp.sum(kept, axis=2)
    combine = (probability[..., None] * jax.nn.one_hot(position, room + 1))[..., 1:]
    dispatch = combine.astype(bool).astype(x.dtype)
    sent = jnp.einsum("bsm,bsec->ebcm", x, dispatch)
    hidden = jax.nn.silu(jnp.einsum("ebcm,emh->ebch", sent, params["wi_0"])) * jnp.einsum(
        "ebcm,emh->ebch", sent, params["wi_1"]
    )
    out = jnp.einsum("ebch,ehm->ebcm", hidden, params["wo"])
    return jnp.einsum("ebcm,bsec->bsm", out, combine), jnp.sum(kept, axis=(0, 1, 2))


def numbers(x) -> list[float]:
    return [float(f"{v:.8g}") for v in np.asarray(x, np.float64).ravel()]


def golden(seed: int, case: tuple) -> dict:
    batch, seq, experts, top, inner, factor, normed = case
    rng = np.random.default_rng(seed)
    shapes = {
        "embedding": (VOCAB, EMBED),
        "gate": (EMBED, experts),
        "wi_0": (experts, EMBED, inner),
        "wi_1": (experts, EMBED, inner),
        "wo": (experts, inner, EMBED),
    }
    params = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    tokens = rng.integers(0, VOCAB, (batch, seq))
    cotangent = rng.uniform(-1, 1, (batch, seq, EMBED)).astype(np.float32)

    def loss(p):
        return jnp.sum(routed(p, tokens, top, factor, normed)[0] * cotangent)

    with jax.default_matmul_precision("highest"):
        y, counts = routed(params, tokens, top, factor, normed)
        grads = jax.grad(loss)(params)
    return {
        "sizes": {"batch": batch, "seq": seq, "vocab": VOCAB, "embed": EMBED, "experts": experts, "top": top, "inner": inner},
        "capacity_factor": factor,
        "norm_topk_prob": normed,
        "capacity": capacity(seq, experts, top, factor),
        "params": {name: numbers(x) for name, x in params.items()},
        "tokens": tokens.ravel().tolist(),
        "cotangent": numbers(cotangent),
        "y": numbers(y),
        "tokens_per_expert": counts.tolist(),
        "gradients": {name: numbers(x) for name, x in grads.items()},
    }


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        lines = ",\n".join(json.dumps(golden(seed, case)) for seed, case in enumerate(CASES))
        out.write(f"[\n{lines}\n]\n")
