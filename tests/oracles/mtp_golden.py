"""The golden of multi-token prediction: a small Qwen3-Next with a prediction head, a little trained.

transformers drops the head (`mtp.*`), so what surrounds its layer is written out here after vLLM's
qwen3_next_mtp.py: the norms of both inputs, the token's embedding before the hidden state, `fc`, the layer, the
last norm, the model's own head. The layer and the norms are transformers' own classes.

The directory gets

    config.json, generation_config.json, model.safetensors   the model as save_pretrained writes it, with the head's
                          tensors beside it under their published names, one tensor per expert
    mtp_logits.jsonl      one line per sequence: tokens, logits[S][V] of the model, mtp_logits[S-1][V]: row i, from
                          the final hidden state of token i and token i+1, predicts token i+2
    greedy.json           a prompt and its greedy continuation

Model and head half learn a made-up language, in which a token is followed by one of two others: then some drafts
are right and some are not, which is what speculative decoding is to be tested on. Everything is float32 on one
CPU thread.

    python tests/oracles/mtp_golden.py OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextDecoderLayer, Qwen3NextRMSNorm

from hf_golden import GREEDY_MARGIN, ROUTER_MARGIN, RouterMargin, build, greedy, logits_line, random_parameter, rope

SEED = 11
STEPS = 20  # enough for three drafts in four to be right
LIKELY = 0.85  # how often the likelier of the two tokens follows

CONFIG = dict(
    vocab_size=37,
    hidden_size=24,
    num_hidden_layers=3,
    layer_types=["linear_attention", "full_attention", "linear_attention"],
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
    linear_num_key_heads=1,
    linear_num_value_heads=2,
    linear_key_head_dim=8,
    linear_value_head_dim=6,
    linear_conv_kernel_dim=4,
    num_experts=4,
    num_experts_per_tok=2,
    norm_topk_prob=True,
    intermediate_size=20,
    moe_intermediate_size=10,
    shared_expert_intermediate_size=12,
    tie_word_embeddings=False,
    rms_norm_eps=1e-6,
    max_position_embeddings=512,
    **rope(1e4, 0.5),
)


class Head(torch.nn.Module):
    """Parameters are named as in the published checkpoint, after `mtp.`."""

    def __init__(self, config: Qwen3NextConfig):
        super().__init__()
        size, eps = config.hidden_size, config.rms_norm_eps
        self.pre_fc_norm_embedding = Qwen3NextRMSNorm(size, eps=eps)
        self.pre_fc_norm_hidden = Qwen3NextRMSNorm(size, eps=eps)
        self.fc = torch.nn.Linear(2 * size, size, bias=False)
        self.layers = torch.nn.ModuleList([Qwen3NextDecoderLayer(config, config.layer_types.index("full_attention"))])
        self.norm = Qwen3NextRMSNorm(size, eps=eps)

    def forward(self, model, hidden: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """hidden[B, S, H] after the model's last norm, and the tokens [B, S] that follow → its own last norm's."""
        length = tokens.shape[1]
        positions = torch.arange(length)[None]
        mask = torch.full((1, 1, length, length), float("-inf")).triu(1)
        embedded = self.pre_fc_norm_embedding(model.model.embed_tokens(tokens))
        x = self.fc(torch.cat([embedded, self.pre_fc_norm_hidden(hidden)], dim=-1))
        rotary = model.model.rotary_emb(x, positions)
        x = self.layers[0](x, position_embeddings=rotary, attention_mask=mask, position_ids=positions)
        return self.norm(x)


def every(model, head, tokens, ahead: int = 1):
    """Logits of the model, then of the head applied 1 … `ahead` times, each time to its own hidden states."""
    out = model(input_ids=tokens, use_cache=False, output_hidden_states=True)
    hidden, logits = out.hidden_states[-1], [out.logits]
    for depth in range(1, ahead + 1):
        hidden = head(model, hidden[:, :-1], tokens[:, depth:])
        logits.append(model.lm_head(hidden))
    return logits


def train(model, head, generator) -> None:
    vocab = model.config.vocab_size
    follow = torch.stack([torch.randperm(vocab, generator=generator) for _ in range(2)])
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=3e-3, foreach=False)
    for step in range(STEPS):
        rows = [torch.randint(0, vocab, (16,), generator=generator)]
        for _ in range(31):
            unlikely = (torch.rand(16, generator=generator) > LIKELY).long()
            rows.append(follow[unlikely, rows[-1]])
        tokens = torch.stack(rows, dim=1)
        losses = [
            F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, depth + 1 :].flatten())
            for depth, logits in enumerate(every(model, head, tokens, ahead=3))
        ]
        optimizer.zero_grad(set_to_none=True)
        sum(losses).backward()
        optimizer.step()
    print("losses of the model and the head:", *(f"{loss.item():.3f}" for loss in losses), file=sys.stderr)


def published(head: Head) -> dict[str, torch.Tensor]:
    """The head's tensors as the published checkpoint has them: transformers keeps experts fused."""
    tensors = {}
    for name, value in head.state_dict().items():
        if name.endswith("experts.gate_up_proj"):
            for expert, both_projections in enumerate(value):
                gate, up = both_projections.chunk(2)
                stem = f"{name.removesuffix('gate_up_proj')}{expert}"
                tensors |= {f"{stem}.gate_proj.weight": gate, f"{stem}.up_proj.weight": up}
        elif name.endswith("experts.down_proj"):
            for expert, down in enumerate(value):
                tensors[f"{name.removesuffix('down_proj')}{expert}.down_proj.weight"] = down
        else:
            tensors[name] = value
    return {f"mtp.{name}": value.clone().contiguous() for name, value in tensors.items()}


def main(out: Path) -> None:
    torch.set_num_threads(1)
    config = Qwen3NextConfig(**CONFIG)
    model = build(config, SEED)
    head = Head(model.config)
    generator = torch.Generator().manual_seed(SEED + 1)
    for name, parameter in head.named_parameters():
        kind = "norm.weight" if parameter.dim() == 1 else name  # all that is not a matrix is a norm's
        parameter.data.copy_(random_parameter(kind, parameter, config, generator))
    train(model.train(), head.train(), generator)
    model.eval(), head.eval()

    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tensors = load_file(out / "model.safetensors")
    save_file(tensors | published(head), out / "model.safetensors", metadata={"format": "pt"})

    with torch.no_grad(), open(out / "mtp_logits.jsonl", "w") as lines:
        for length in [2, 5, 71]:
            while True:
                tokens = torch.randint(0, config.vocab_size, (1, length), generator=generator)
                with RouterMargin(model) as router, RouterMargin(head) as own:
                    logits, ahead = every(model, head, tokens)
                if min(router.margin, own.margin) > ROUTER_MARGIN:
                    break
            rows = ", ".join("[" + ", ".join(f"{x:.9g}" for x in row) + "]" for row in ahead[0].tolist())
            lines.write(logits_line(tokens[0].tolist(), logits[0])[:-1] + f', "mtp_logits": [{rows}]}}\n')

    while True:
        prompt = torch.randint(0, config.vocab_size, (9,), generator=generator).tolist()
        continuation, margin = greedy(model, prompt, 40)
        if margin > GREEDY_MARGIN:
            break
    (out / "greedy.json").write_text(json.dumps({"prompt": prompt, "greedy": continuation}))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
