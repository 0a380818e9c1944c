"""Goldens: what Hugging Face transformers computes for a small random model, written down.

One golden is a directory holding a checkpoint and everything q3c is compared with:

    config.json, generation_config.json, model.safetensors   as save_pretrained writes them
    logits.jsonl          one line per sequence: prompt, tokens, attention_mask, logits[S][V]
    layers.safetensors    tokens[1, S] of the longest sequence; hidden.0 = embeddings, hidden.i = after
                          layer i, the last one after the final norm
    greedy.json           a prompt and its greedy continuation
    grads.safetensors     gradients of the loss of train.json's first batch, before clipping, under the
                          names transformers gives its parameters (experts fused, a tied head left out)
    train.json            batches, the order they are visited in, the optimizer, loss and norm per step

Everything is float32 on one CPU thread: eager attention, eager experts, the plain torch code of the gated
delta rule, no dropout, no auxiliary loss. Run `python hf_golden.py --help` for the commands.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedConfig, Qwen3Config, Qwen3NextConfig
from transformers.utils import logging

OPTIMIZER = {
    "name": "adamw",
    "lr": 1e-3,
    "b1": 0.9,
    "b2": 0.95,
    "eps": 1e-8,
    "weight_decay": 0.1,
    "decay": "all parameters",
    "clip_global_norm": 1.0,
}
LOSS = "mean cross entropy of token t+1 over the S-1 predicted positions of every row"
EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}

# A golden is only worth comparing with if two correct float32 programs must agree on it.
# A choice that hangs on less than this (router logits, or output logits for greedy) is drawn again.
ROUTER_MARGIN = 1e-5
GREEDY_MARGIN = 1e-3
# Weights perturbed by this much, relatively, stand for another program's rounding; what they do to the
# gradients (relative) and to the curve (loss, and norm relative) must stay within these, or the draw is repeated.
ROUNDING = 1e-7
STEADY_GRADS = 5e-5
STEADY_LOSS = 3e-5
STEADY_NORM = 3e-4
MIN_STEPS = 4


class Unsteady(Exception):
    """This draw is too sensitive to rounding to be a golden."""


# --- the model -----------------------------------------------------------------------------------------


def build(config: PreTrainedConfig, seed: int) -> torch.nn.Module:
    """The model of `config`, every parameter random and none at its neutral value."""
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **EAGER)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        parameter.data.copy_(random_parameter(name, parameter, config, generator))
    return model.eval()


def random_parameter(name, parameter, config, generator) -> torch.Tensor:
    shape = parameter.shape
    normal = torch.randn(shape, generator=generator)
    if name.endswith("norm.weight"):
        neutral = parameter.detach()  # norms are initialised to whatever makes them the identity: 0 or 1
        assert neutral.unique().numel() == 1
        if name == "model.norm.weight" and config.tie_word_embeddings:
            return neutral - 1.0 + normal  # gains of both signs, or a tied head repeats its input forever
        return neutral + 0.1 * normal
    if name.endswith("A_log"):  # decay rates from slow to fast
        return torch.rand(shape, generator=generator) * math.log(160.0) + math.log(0.1)
    if name.endswith("dt_bias"):
        return -2.0 + 0.5 * normal
    if name.endswith("conv1d.weight"):
        return normal * 0.8 / math.sqrt(shape[-1])
    if name.endswith(".bias"):
        return 0.1 * normal
    if name.endswith("embed_tokens.weight"):  # a tied embedding is also the head: keep the logits of order one
        return normal * (2.0 / math.sqrt(shape[-1]) if config.tie_word_embeddings else 1.0)
    assert parameter.dim() in (2, 3), name
    # What is added to the residual stream is damped: rounding then grows less from layer to layer.
    damped = name.endswith(("out_proj.weight", "o_proj.weight", "down_proj.weight", "down_proj"))
    return normal * (0.5 if damped else 1.0) / math.sqrt(shape[-1])


def load(directory: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, **EAGER).eval()


class RouterMargin:
    """The smallest gap, in router logits, between an expert taken and one left out."""

    def __init__(self, model):
        self.hooks = [
            module.register_forward_hook(self.see)
            for module in model.modules()
            if type(module).__name__.endswith("TopKRouter")
        ]
        self.margin = math.inf

    def see(self, router, _inputs, outputs):
        logits = outputs[0].detach()
        if router.top_k < logits.shape[-1]:
            ranked = logits.sort(dim=-1, descending=True).values
            gap = (ranked[:, router.top_k - 1] - ranked[:, router.top_k]).min().item()
            self.margin = min(self.margin, gap)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()


def forward(model, tokens, **kwargs):
    return model(input_ids=tokens, use_cache=False, **kwargs)


def loss_of(model, tokens) -> torch.Tensor:
    logits = forward(model, tokens).logits
    return F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1))


# --- what is measured ----------------------------------------------------------------------------------


def greedy(model, prompt: list[int], count: int) -> tuple[list[int], float]:
    """Continues the prompt by whole forward passes; also the smallest gap to the runner-up."""
    tokens, margin = list(prompt), math.inf
    with torch.no_grad():
        for _ in range(count):
            best = forward(model, torch.tensor([tokens])).logits[0, -1].topk(2)
            margin = min(margin, (best.values[0] - best.values[1]).item())
            tokens.append(best.indices[0].item())
    return tokens[len(prompt) :], margin


def gradients(model, tokens) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    loss_of(model, tokens).backward()
    grads = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in model.named_parameters()
    }
    model.zero_grad(set_to_none=True)
    return grads


def train(model, batches, order) -> list[dict[str, float]]:
    """The loss and global gradient norm of each step. Leaves the model trained."""
    o = OPTIMIZER
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=o["lr"],
        betas=(o["b1"], o["b2"]),
        eps=o["eps"],
        weight_decay=o["weight_decay"],
        foreach=False,
    )
    curve = []
    for index in order:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model, batches[index])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), o["clip_global_norm"])
        optimizer.step()
        curve.append({"loss": loss.item(), "grad_norm": norm.item()})
    optimizer.zero_grad(set_to_none=True)
    return curve


def perturbed(parameters: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: value * (1 + ROUNDING * torch.randn(value.shape, generator=generator))
        for name, value in parameters.items()
    }


def grads_error(grads: dict[str, torch.Tensor], golden: dict[str, torch.Tensor]) -> float:
    """The worst tensor's relative error.

    A router that takes one expert and normalises its weight has no gradient: what is stored is rounding
    (1e-9 of the whole gradient; real ones are above 1e-5), and only has to be as small again.
    """
    total = math.sqrt(sum(g.square().sum().item() for g in golden.values()))

    def error(grad, golden):
        norm = golden.norm().item()
        if norm < 1e-7 * total:
            return 0.0 if grad.norm().item() < 1e-6 * total else math.inf
        return (grad - golden).norm().item() / norm

    return max(error(grads[name], g) for name, g in golden.items())


# --- writing a golden ----------------------------------------------------------------------------------


def make_golden(
    out_dir,
    config: PreTrainedConfig,
    seed: int,
    lengths: list[int],
    *,
    batch: tuple[int, int] = (3, 37),
    batches: int = 4,
    steps: int = 12,
    prompt_length: int = 9,
    greedy_length: int = 40,
) -> None:
    """Writes one golden of `config`: sequences of the given lengths, batches of `batch` = (rows, tokens).

    Training takes `steps` steps, or fewer where rounding would show before; other weights are tried where
    that leaves less than MIN_STEPS.
    """
    for attempt in range(20):
        try:
            return attempt_golden(
                Path(out_dir),
                config,
                seed + attempt * 1_000_003,
                lengths,
                batch=batch,
                batches=batches,
                steps=steps,
                prompt_length=prompt_length,
                greedy_length=greedy_length,
            )
        except Unsteady as error:
            print(f"{out_dir}: attempt {attempt + 1}: {error}", file=sys.stderr, flush=True)
    raise RuntimeError(f"{out_dir}: no steady golden in 20 attempts")


def attempt_golden(out, config, seed, lengths, *, batch, batches, steps, prompt_length, greedy_length) -> None:
    out.mkdir(parents=True, exist_ok=True)
    model = build(config, seed)
    model.save_pretrained(out)
    generator = torch.Generator().manual_seed(seed + 1)

    def draw(*shape):
        return torch.randint(0, config.vocab_size, shape, generator=generator)

    def draw_safe(*shape):
        """Tokens under which no router is near a tie."""
        for _ in range(100):
            tokens = draw(*shape)
            with torch.no_grad(), RouterMargin(model) as router:
                forward(model, tokens)
            if router.margin > ROUTER_MARGIN:
                return tokens
        raise Unsteady(f"every draw of {shape} tokens comes too near a router tie")

    with torch.no_grad(), open(out / "logits.jsonl", "w") as lines:
        for length in lengths:
            tokens = draw_safe(1, length)
            logits = forward(model, tokens).logits[0]
            assert logits.isfinite().all()
            lines.write(logits_line(tokens[0].tolist(), logits) + "\n")

        longest = max(lengths)
        if longest != length:
            tokens = draw_safe(1, longest)
        hidden = forward(model, tokens, output_hidden_states=True).hidden_states
        assert len(hidden) == config.num_hidden_layers + 1
        layers = {f"hidden.{i}": h[0].contiguous() for i, h in enumerate(hidden)}
        save_file(layers | {"tokens": tokens}, out / "layers.safetensors")

    found = []  # steady continuations; the most varied is kept
    for _ in range(100):
        prompt = draw(prompt_length).tolist()
        with RouterMargin(model) as router:
            continuation, margin = greedy(model, prompt, greedy_length)
        if margin > GREEDY_MARGIN and router.margin > ROUTER_MARGIN:
            found.append((len(set(continuation)), prompt, continuation))
            if len(found) == 10 or 3 * found[-1][0] > greedy_length:
                break
    if not found:
        raise Unsteady("every greedy continuation comes too near a tie")
    _, prompt, continuation = max(found)
    (out / "greedy.json").write_text(json.dumps({"prompt": prompt, "greedy": continuation}))

    start = {name: value.clone() for name, value in model.state_dict().items()}
    order = [step % batches for step in range(steps)]
    best = None
    for _ in range(6):
        data = [draw_safe(*batch) for _ in range(batches)]
        grads = gradients(model, data[0])
        curve = train(model, data, order)
        steady = steps
        for trial in range(2):
            model.load_state_dict(perturbed(start, trial))
            if grads_error(gradients(model, data[0]), grads) > STEADY_GRADS:
                steady = 0
                break
            other = train(model, data, order)
            off = [
                i
                for i, (a, b) in enumerate(zip(other, curve))
                if abs(a["loss"] - b["loss"]) > STEADY_LOSS
                or abs(a["grad_norm"] - b["grad_norm"]) > STEADY_NORM * b["grad_norm"]
            ]
            steady = min([steady, *off])
        model.load_state_dict(start)
        if best is None or steady > best[0]:
            best = steady, data, grads, curve
        if steady == steps:
            break
    steady, data, grads, curve = best
    if steady < MIN_STEPS:
        raise Unsteady(f"rounding shows after {steady} steps of training" if steady else "rounding shows in the gradients")
    order, curve = order[:steady], curve[:steady]
    save_file(grads, out / "grads.safetensors")
    (out / "train.json").write_text(
        json.dumps(
            {
                "batches": [tokens.tolist() for tokens in data],
                "order": order,
                "first_loss_for_grads": curve[0]["loss"],
                "optimizer": OPTIMIZER,
                "loss": LOSS,
                "curve": curve,
            }
        )
    )


def logits_line(tokens: list[int], logits: torch.Tensor) -> str:
    rows = ", ".join("[" + ", ".join(f"{x:.9g}" for x in row) + "]" for row in logits.tolist())
    head = {"prompt": f"{len(tokens)} random tokens", "tokens": tokens, "attention_mask": [1] * len(tokens)}
    return json.dumps(head)[:-1] + f', "logits": [{rows}]}}'


# --- configurations ------------------------------------------------------------------------------------

KINDS = "pattern, interval, all linear, pattern, interval, all full, pattern, interval, no experts, interval".split(", ")


def random_config(seed: int, small: bool = False) -> tuple[Qwen3NextConfig, dict]:
    """One qwen3_next configuration and the sizes of its golden. Ten consecutive seeds meet every kind."""
    r = random.Random(f"qwen3_next {seed}")
    kind = KINDS[seed % len(KINDS)]

    layers = r.randint(2, 4) if small else r.randint(1, 7)
    interval = r.randint(2, 5)
    if kind == "all linear":
        types = ["linear_attention"] * layers
    elif kind == "all full":
        types = ["full_attention"] * layers
    elif kind == "interval":
        layers = max(layers, interval)
        types = ["full_attention" if (i + 1) % interval == 0 else "linear_attention" for i in range(layers)]
    else:
        types = [r.choice(["linear_attention", "full_attention"]) for _ in range(layers)]

    kv_heads = r.randint(1, 3)
    heads = kv_heads * r.randint(1, 6 // kv_heads)
    rotary = r.choice([0.25, 0.5, 1.0])
    unit = round(2 / rotary)  # head_dim * rotary must be even
    head_dim = unit * r.randint(math.ceil(8 / unit), (16 if small else 40) // unit)
    key_heads = r.randint(1, 2 if small else 4)
    value_heads = key_heads * r.randint(1, 3 if small else 4)
    key_dim = r.randint(5, 12 if small else 24)
    value_dim = r.choice([d for d in range(5, 13 if small else 29) if d != key_dim])
    experts = 0 if kind == "no experts" else r.randint(2, 5 if small else 12)
    mlp_only, step = [], 1
    if r.random() < 0.7:  # some layers dense by name, by the step or both, but not all of them
        while not mlp_only and step == 1 or not sparse_layers(experts or 1, mlp_only, step, layers):
            mlp_only = [i for i in range(layers) if r.random() < 0.3] if r.random() < 0.7 else []
            step = r.randint(1, 3)
            if layers == 1:
                break
    wide = 20 if small else 64
    sizes = r.sample(range(7, wide), 3)
    config = Qwen3NextConfig(
        vocab_size=r.randint(61, 97) if small else r.randint(61, 331),
        hidden_size=r.randint(20, 32) if small else r.randint(24, 96),
        num_hidden_layers=layers,
        layer_types=types,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        linear_num_key_heads=key_heads,
        linear_num_value_heads=value_heads,
        linear_key_head_dim=key_dim,
        linear_value_head_dim=value_dim,
        linear_conv_kernel_dim=r.randint(2, 5),
        num_experts=experts,
        num_experts_per_tok=r.randint(1, max(1, experts)),
        norm_topk_prob=r.random() < 0.5,
        mlp_only_layers=mlp_only,
        decoder_sparse_step=step,
        intermediate_size=sizes[0],
        moe_intermediate_size=sizes[1],
        shared_expert_intermediate_size=sizes[2],
        tie_word_embeddings=r.random() < 0.5,
        rms_norm_eps=r.choice([1e-6, 1e-6, 1e-5, 1e-4, 1e-3]),
        max_position_embeddings=r.choice([512, 4096, 32768]),
        **rope(r.choice([1e4, 5e4, 1e5, 5e5, 1e6, 5e6, 1e7]), rotary),
    )
    if small:
        plan = {"lengths": [1, 5, r.randint(65, 80)], "batch": (2, r.randint(20, 70)), "batches": 3, "steps": 6}
    else:
        lengths = sorted({1, 2 * r.randint(1, 31) + 1, r.choice([63, 64, 65, 127, 128, 129]), r.randint(66, 200)})
        plan = {"lengths": lengths, "batch": (r.randint(1, 4), r.randint(3, 99)), "batches": 4, "steps": 12}
    return config, plan


def sparse_layers(experts: int, mlp_only: list[int], step: int, layers: int) -> list[int]:
    return [i for i in range(layers) if experts and i not in mlp_only and (i + 1) % step == 0]


def rope(theta: float, rotary: float) -> dict:
    return {
        "partial_rotary_factor": rotary,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta, "partial_rotary_factor": rotary},
    }


def dense_config(small: bool = False) -> tuple[Qwen3Config, dict]:
    """A tiny Qwen3: no linear attention, no experts, one-centred norms, tied embeddings."""
    config = Qwen3Config(
        vocab_size=89 if small else 211,
        hidden_size=28 if small else 60,
        num_hidden_layers=2 if small else 3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=10 if small else 22,
        intermediate_size=39 if small else 90,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )
    if small:
        return config, {"lengths": [1, 5, 70], "batch": (3, 37), "batches": 3, "steps": 6}
    return config, {"lengths": [1, 3, 17, 64, 65, 150], "batch": (4, 67)}


def committed() -> dict[str, tuple[PreTrainedConfig, dict, int]]:
    """The goldens kept beside the tests: name -> configuration, sizes, seed."""
    # Dense and sparse layers mixed (0, 2 and 4 dense by the step, 3 by name), tied, short conv, raw top-k weights.
    a = Qwen3NextConfig(
        vocab_size=83,
        hidden_size=22,
        num_hidden_layers=6,
        layer_types=["full_attention", "linear_attention", "linear_attention", "full_attention"]
        + ["linear_attention"] * 2,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=8,
        linear_num_key_heads=1,
        linear_num_value_heads=3,
        linear_key_head_dim=8,
        linear_value_head_dim=6,
        linear_conv_kernel_dim=3,
        num_experts=4,
        num_experts_per_tok=2,
        norm_topk_prob=False,
        mlp_only_layers=[3],
        decoder_sparse_step=2,
        intermediate_size=19,
        moe_intermediate_size=11,
        shared_expert_intermediate_size=14,
        tie_word_embeddings=True,
        rms_norm_eps=1e-4,
        max_position_embeddings=512,
        **rope(1e4, 0.5),
    )
    # A full layer every third, everything sparse, every dimension odd that may be.
    b = Qwen3NextConfig(
        vocab_size=71,
        hidden_size=25,
        num_hidden_layers=4,
        full_attention_interval=3,
        num_attention_heads=3,
        num_key_value_heads=3,
        head_dim=10,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        linear_key_head_dim=7,
        linear_value_head_dim=11,
        linear_conv_kernel_dim=5,
        num_experts=3,
        num_experts_per_tok=2,
        norm_topk_prob=True,
        intermediate_size=21,
        moe_intermediate_size=9,
        shared_expert_intermediate_size=13,
        tie_word_embeddings=False,
        rms_norm_eps=1e-3,
        max_position_embeddings=4096,
        **rope(5e6, 1.0),
    )
    plan_a = {"lengths": [1, 5, 70], "batch": (3, 37), "batches": 3, "steps": 6}
    plan_b = {"lengths": [1, 6, 67], "batch": (2, 71), "batches": 2, "steps": 6}
    dense, plan_dense = dense_config(small=True)
    return {"random-a": (a, plan_a, 101), "random-b": (b, plan_b, 102), "qwen3-dense": (dense, plan_dense, 103)}


# --- checking a golden ---------------------------------------------------------------------------------


def check(directory: Path) -> dict[str, float]:
    """Loads the checkpoint back and recomputes everything: the largest difference of each kind.

    Relative for gradients and their norm, a count for greedy tokens, absolute for the rest.
    """
    model = load(directory)
    worst = {"logits": 0.0}
    with torch.no_grad():
        for line in open(directory / "logits.jsonl"):
            golden = json.loads(line)
            tokens = torch.tensor([golden["tokens"]])
            with RouterMargin(model) as router:
                logits = forward(model, tokens).logits[0]
            worst["logits"] = max(worst["logits"], (logits - torch.tensor(golden["logits"])).abs().max().item())
            worst["router_margin"] = min(worst.get("router_margin", math.inf), router.margin)
        layers = load_file(directory / "layers.safetensors")
        hidden = forward(model, layers["tokens"], output_hidden_states=True).hidden_states
        assert len(hidden) == len(layers) - 1
        worst["hidden"] = max((h[0] - layers[f"hidden.{i}"]).abs().max().item() for i, h in enumerate(hidden))

    golden = json.loads((directory / "greedy.json").read_text())
    count = len(golden["greedy"])
    worst["greedy"] = sum(a != b for a, b in zip(greedy(model, golden["prompt"], count)[0], golden["greedy"]))
    if "full_attention" in model.config.layer_types:  # transformers cannot cache without one
        cached = model.generate(
            torch.tensor([golden["prompt"]]),
            attention_mask=torch.ones(1, len(golden["prompt"]), dtype=torch.long),  # else token 0 is padding
            do_sample=False,
            max_new_tokens=count,
            pad_token_id=0,
            use_cache=True,
        )
        worst["greedy_cached"] = sum(a != b for a, b in zip(cached[0, -count:].tolist(), golden["greedy"]))

    golden = json.loads((directory / "train.json").read_text())
    data = [torch.tensor(rows) for rows in golden["batches"]]
    labels = forward(model, data[0], labels=data[0]).loss.item()  # transformers' own loss is the same number
    worst["first_loss"] = abs(labels - golden["first_loss_for_grads"])
    stored = load_file(directory / "grads.safetensors")
    grads = gradients(model, data[0])
    assert grads.keys() == stored.keys(), sorted(grads.keys() ^ stored.keys())
    worst["grads"] = grads_error(grads, stored)
    curve = train(model, data, golden["order"])
    steps = list(zip(curve, golden["curve"], strict=True))
    worst["loss"] = max(abs(a["loss"] - b["loss"]) for a, b in steps)
    worst["grad_norm"] = max(abs(a["grad_norm"] / b["grad_norm"] - 1) for a, b in steps)
    return worst


# --- command line --------------------------------------------------------------------------------------


def describe(config: PreTrainedConfig) -> str:
    """One line for a human: what this configuration exercises."""
    c = config
    types = "".join("L" if t == "linear_attention" else "F" for t in c.layer_types)
    parts = [
        f"layers {types}",
        f"hidden {c.hidden_size}",
        f"vocab {c.vocab_size}",
        f"heads {c.num_attention_heads}/{c.num_key_value_heads}x{c.head_dim}",
    ]
    if c.model_type == "qwen3_next":
        sparse = sparse_layers(c.num_experts, c.mlp_only_layers, c.decoder_sparse_step, c.num_hidden_layers)
        mlps = "".join("s" if i in sparse else "d" for i in range(c.num_hidden_layers))
        parts += [
            f"rotary {c.rope_parameters['partial_rotary_factor']:g}",
            f"linear {c.linear_num_key_heads}x{c.linear_key_head_dim}/{c.linear_num_value_heads}x{c.linear_value_head_dim}",
            f"conv {c.linear_conv_kernel_dim}",
            f"mlp {mlps}",
            f"experts {c.num_experts_per_tok}/{c.num_experts}{' norm' if c.norm_topk_prob else ''}",
            f"widths {c.intermediate_size},{c.moe_intermediate_size},{c.shared_expert_intermediate_size}",
        ]
    parts += [
        f"theta {c.rope_parameters['rope_theta']:g}",
        f"eps {c.rms_norm_eps:g}",
        "tied" if c.tie_word_embeddings else "untied",
    ]
    return ", ".join(parts)


def write(out: Path, config, plan, seed) -> None:
    make_golden(out, config, seed, **plan)
    for file in out.iterdir():
        file.chmod(0o644)  # safetensors creates private files
    size = sum(f.stat().st_size for f in out.iterdir())
    steps = len(json.loads((out / "train.json").read_text())["curve"])
    lengths, (rows, tokens) = plan["lengths"], plan["batch"]
    print(
        f"{out}: {size / 1024:.0f} KiB: {describe(config)}, lengths {lengths}, batch {rows}x{tokens}, {steps} steps",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("random", help="one qwen3_next configuration drawn from the seed")
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--small", action="store_true", help="small enough to commit")
    p = commands.add_parser("many", help="COUNT random goldens, OUT/<1000*seed + i> = that of `random --seed`")
    p.add_argument("--count", type=int, default=20)
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--small", action="store_true", help="small enough to commit")
    p = commands.add_parser("dense", help="a tiny Qwen3ForCausalLM")
    p.add_argument("--seed", type=int, default=103)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--small", action="store_true", help="small enough to commit")
    p = commands.add_parser("committed", help="the goldens kept in tests/goldens")
    p.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "goldens")
    p = commands.add_parser("check", help="reload goldens and recompute them")
    p.add_argument("dirs", type=Path, nargs="+")
    args = parser.parse_args()

    if args.command == "random":
        write(args.out, *random_config(args.seed, args.small), args.seed)
    elif args.command == "many":
        for seed in range(1000 * args.seed, 1000 * args.seed + args.count):
            write(args.out / str(seed), *random_config(seed, args.small), seed)
    elif args.command == "dense":
        write(args.out, *dense_config(args.small), args.seed)
    elif args.command == "committed":
        for name, (config, plan, seed) in committed().items():
            write(args.out / name, config, plan, seed)
    elif args.command == "check":
        bad = 0
        for directory in args.dirs:
            worst = check(directory)
            failed = [k for k, limit in LIMITS.items() if not worst.get(k, 0) <= limit]
            bad += bool(failed)
            print(directory, "FAILED" if failed else "ok", {k: float(f"{v:.2g}") for k, v in worst.items()}, flush=True)
        return min(bad, 1)
    return 0


LIMITS = {
    "logits": 1e-4,
    "hidden": 1e-4,
    "greedy": 0,
    "greedy_cached": 0,
    "first_loss": 1e-5,
    "grads": 1e-4,
    "loss": 1e-4,
    "grad_norm": 1e-3,
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    sys.exit(main())
