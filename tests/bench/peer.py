"""The bench's model in Hugging Face transformers: tokens a second, training step and forward, on one thread."""

import json
import statistics
import sys
import time

import torch
from transformers import AutoConfig, AutoModelForCausalLM

spec = json.load(sys.stdin)
torch.set_num_threads(1)
torch.manual_seed(0)
config = AutoConfig.for_model(**spec["config"])
config._attn_implementation = "eager"
model = AutoModelForCausalLM.from_config(config).float()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
rows, length = spec["rows"], spec["length"]
ids = (torch.arange(rows * length) * 7919 + 13).remainder(config.vocab_size).view(rows, length)


def train():
    loss = model(ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


@torch.no_grad()
def forward():
    model(ids[:1])


def median_seconds(run):
    run()
    times = []
    for _ in range(spec["rounds"]):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


print(json.dumps({"train": rows * length / median_seconds(train), "forward": length / median_seconds(forward)}))
