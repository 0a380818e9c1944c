"""Oracle: `q3c golden-logits --engine=hf` against transformers called here, and against q3c's own engine.

    python golden_logits.py [--q3c "node dist/cli/main.js"]      # a Python with torch and transformers

Makes a tiny Qwen3-Next with a byte-level tokenizer and a chat template in a temporary directory, writes goldens of it in
both forms, with and without the template, and compares: hf's logits must be the same bits as the model's called here,
q3c's own within 1e-4 relatively, and `q3c check-logits` must pass on each file and with --run_hf_model.
"""

import argparse
import json
import os
import pickle
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3NextConfig

TOKENIZER = Path(__file__).parent / "../data/tiny-tokenizer"
PROMPTS = ["I love to", "Today is a", "What is the"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_model(folder: Path) -> None:
    torch.manual_seed(0)
    config = Qwen3NextConfig(
        vocab_size=300, hidden_size=32, intermediate_size=16, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=8,
        linear_value_head_dim=8, moe_intermediate_size=16, shared_expert_intermediate_size=16, num_experts=8,
        num_experts_per_tok=2,
    )
    model = AutoModelForCausalLM.from_config(config).float()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)


def expected(folder: Path, chat: bool) -> list:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
    records = []
    for prompt in PROMPTS:
        text = prompt
        if chat:
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
        ids = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            records.append((ids["input_ids"][0].tolist(), model(**ids).logits[0].float().numpy()))
    return records


def load(path: Path) -> list:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return pickle.loads(path.read_bytes())


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--q3c", default="node dist/cli/main.js")
    q3c = shlex.split(arguments.parse_args().q3c)
    environment = {**os.environ, "Q3C_PYTHON": sys.executable}
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "model"
        make_model(folder)
        check = [*q3c, "check-logits", "base", f"model_name={folder}", "--max_kl_div=1e-6"]

        def run(*line: str) -> None:
            subprocess.run(line, check=True, env=environment, stdout=subprocess.DEVNULL)

        for chat in (False, True):
            wanted = expected(folder, chat)
            for engine in ("hf", "q3c"):
                for form, suffix in (("json", "jsonl"), ("pickle", "pickle")):
                    path = Path(directory) / f"{engine}-{chat}.{suffix}"
                    flags = [f"--engine={engine}", f"--output-format={form}", *(["--apply-chat-template"] if chat else [])]
                    run(*q3c, "golden-logits", f"--model-id={folder}", f"--output-path={path}", f"--prompts={';'.join(PROMPTS)}", *flags)
                    worst = 0.0
                    for record, prompt, (tokens, logits) in zip(load(path), PROMPTS, wanted, strict=True):
                        assert record["prompt"] == prompt and list(record["tokens"]) == tokens
                        found = np.asarray(record["logits"], np.float32)
                        worst = max(worst, float(np.abs(found - logits).max() / np.abs(logits).max()))
                    print(f"{path.name}: relative difference {worst:.1e}")
                    assert worst == 0 if engine == "hf" else worst < 1e-4
                    run(*check, f"--golden_logits_path={path}")
        run(*check, "--run_hf_model", f"--hf_model_path={folder}")
    print("all as it should be")


if __name__ == "__main__":
    main()
