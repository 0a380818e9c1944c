"""Runs prompts through a Hugging Face model for `q3c golden-logits --engine=hf`.

Reads one request as JSON from stdin: model, tokenizer, prompts, dtype (float32, bfloat16 or auto), trust_remote_code,
apply_chat_template. Writes to stdout for each prompt a line of JSON (prompt, formatted_prompt if a chat template was
applied, tokens, attention_mask, shape) and then shape[0] * shape[1] little-endian float32 logits. A line with `missing`
names a package that is not here. Everything else that libraries print goes to stderr.
"""

import json
import os
import sys


def main():
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def say(record, data=b""):
        out.write(json.dumps(record).encode() + b"\n")
        out.write(data)
        out.flush()

    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        say({"missing": error.name or str(error), "python": sys.executable, "version": sys.version.split()[0]})
        return

    request = json.load(sys.stdin)
    trust = request["trust_remote_code"]
    dtype = request["dtype"]
    tokenizer = AutoTokenizer.from_pretrained(request["tokenizer"], trust_remote_code=trust)
    model = AutoModelForCausalLM.from_pretrained(
        request["model"],
        torch_dtype=dtype if dtype == "auto" else getattr(torch, dtype),
        trust_remote_code=trust,
    ).eval()
    for prompt in request["prompts"]:
        record = {"prompt": prompt}
        text = prompt
        if request["apply_chat_template"]:
            messages = [{"role": "user", "content": prompt}]
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            record["formatted_prompt"] = text
        tokens = tokenizer.encode(text, add_special_tokens=not request["apply_chat_template"])
        mask = [1] * len(tokens)
        with torch.no_grad():
            ids = torch.tensor([tokens], dtype=torch.long)
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        table = logits[0].to(torch.float32).contiguous().cpu().numpy().astype("<f4")
        say({**record, "tokens": tokens, "attention_mask": mask, "shape": list(table.shape)}, table.tobytes())


main()
