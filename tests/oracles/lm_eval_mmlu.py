"""MMLU as lm-evaluation-harness runs it, on made-up questions in local files.

    lm_eval_mmlu.py data OUT            a few questions in every format that q3c reads, and in expected.json the prompts
                                        and figures of lm-evaluation-harness for them (the committed tests/data/mmlu)
    lm_eval_mmlu.py text FILE           text with such questions and their answers, for a small model to learn from
    lm_eval_mmlu.py compare WORK -- CONFIG...
                                        140 questions: q3c mmlu, and local-completions against q3c serve, with 0 and
                                        3 examples; every choice and every accuracy must be the same

pip install "lm-eval[api]==0.4.13" pyarrow transformers. `compare` runs dist/cli/main.js; the harness counts tokens with
the server's tokenizer, or with --tokenizer=DIR by itself.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import lm_eval
import pyarrow as pa
import pyarrow.parquet as pq
from lm_eval.api.metrics import mean_stderr, pooled_sample_stderr
from lm_eval.tasks import TaskManager

ROOT = Path(__file__).resolve().parents[2]
SUBJECTS = ["anatomy", "high_school_us_history", "us_foreign_policy", "virology"]

# What breaks careless readers: quotes, commas, line ends, white space at the ends, braces, characters beyond ASCII.
AWKWARD = [
    'Which word does "not, strictly" need?',
    "Two lines:\nwhich of them is the second one?",
    "  What stands between the spaces?  ",
    "What does f(x) = {choices} mean, and {question}?",
    "Où est né l’été — 東京 or 🙂?",
]


def make_questions(per_subject: int, dev: int, seed: int, learnable: bool = False) -> dict[str, list[dict]]:
    """If `learnable`, the last digit before the answer says which it is."""
    draw = random.Random(seed)
    words = "river stone lamp paper winter seven copper garden letter motion silver thread".split()

    def one(subject: str, i: int) -> dict:
        text = AWKWARD[i] if i < len(AWKWARD) else f"Which {draw.choice(words)} is {draw.choice(words)}, number {i}?"
        choices = [f"{draw.choice(words)} {draw.randrange(100)}" for _ in range(4)]
        if i == 0:
            choices = ['the "first", of four', "a\nb", "3", "none of A, B, C"]
        answer = draw.randrange(4)
        if learnable and choices[3][-1].isdigit():
            answer = int(choices[3][-1]) % 4
        return {"question": text, "subject": subject, "choices": choices, "answer": answer}

    return {
        "test": [one(s, i) for s in SUBJECTS for i in range(per_subject)],
        "dev": [one(s, i + 7) for s in SUBJECTS for i in range(dev)],
    }


def write_json_lines(folder: Path, questions: dict[str, list[dict]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in questions.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_parquet(folder: Path, questions: dict[str, list[dict]]) -> None:
    """As cais/mmlu: int64 answers, lists of choices; several row groups, another compression for each split."""
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(
        [("question", pa.string()), ("subject", pa.string()), ("choices", pa.list_(pa.string())), ("answer", pa.int64())]
    )
    for (split, rows), compression in zip(questions.items(), ["snappy", "zstd"]):
        table = pa.Table.from_pylist(rows, schema)
        path = folder / f"{split}-00000-of-00001.parquet"
        pq.write_table(table, path, compression=compression, row_group_size=5)


def write_csv(folder: Path, questions: dict[str, list[dict]]) -> None:
    """As first published: a file for each subject and split, no header, the letter of the answer last."""
    for split, rows in questions.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        for subject in SUBJECTS:
            with open(folder / split / f"{subject}_{split}.csv", "w", newline="") as file:
                csv.writer(file).writerows(
                    [r["question"], *r["choices"], "ABCD"[r["answer"]]] for r in rows if r["subject"] == subject
                )


def write_tasks(folder: Path, data: Path) -> None:
    """lm-evaluation-harness's own mmlu tasks, but for where their questions come from."""
    folder.mkdir(parents=True, exist_ok=True)
    package = Path(lm_eval.__file__).parent / "tasks/mmlu/default"
    for subject in SUBJECTS:
        rows = {split: [json.loads(x) for x in (data / f"{split}.jsonl").read_text().splitlines()] for split in ("test", "dev")}
        files = {}
        for split in rows:
            own = folder / f"{subject}-{split}.jsonl"
            own.write_text("".join(json.dumps(row) + "\n" for row in rows[split] if row["subject"] == subject))
            files[split] = str(own)
        (folder / f"{subject}.yaml").write_text(
            "\n".join(
                [
                    f"include: {package / f'mmlu_{subject}.yaml'}",
                    f"task: made_up_{subject}",
                    "tag: null",
                    "dataset_path: json",
                    "dataset_name: null",
                    f"dataset_kwargs: {{data_files: {json.dumps(files)}}}",
                    "",
                ]
            )
        )


def evaluate(tasks: Path, model: str, model_args: dict, shots: int) -> dict:
    manager = TaskManager(include_path=str(tasks))
    names = [f"made_up_{subject}" for subject in SUBJECTS]
    return lm_eval.simple_evaluate(
        model=model, model_args=model_args, tasks=names, num_fewshot=shots, task_manager=manager, log_samples=True
    )


def samples_of(result: dict) -> dict[str, list[dict]]:
    ordered = {}
    for subject in SUBJECTS:
        samples = sorted(result["samples"][f"made_up_{subject}"], key=lambda sample: sample["doc_id"])
        ordered[subject] = samples
    return ordered


def command_data(out: Path) -> None:
    questions = make_questions(per_subject=7, dev=3, seed=1)
    write_json_lines(out / "lines", questions)
    write_parquet(out / "parquet" / "all", questions)
    write_csv(out / "csv", questions)
    expected = {"prompts": {}, "statistics": {}}
    work = out / ".work"
    write_tasks(work, out / "lines")
    for shots in (0, 2):
        samples = samples_of(evaluate(work, "dummy", {}, shots))
        expected["prompts"][shots] = {
            subject: [sample["arguments"][0][0] for sample in rows] for subject, rows in samples.items()
        }
    tallies = [(3, 7), (0, 5), (11, 11), (40, 100)]
    errors = [mean_stderr([1] * right + [0] * (count - right)) for right, count in tallies]
    expected["statistics"] = {
        "tallies": tallies,
        "stderrs": errors,
        "pooled": float(pooled_sample_stderr(errors, [count for _, count in tallies])),
    }
    (out / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n")
    for file in work.iterdir():
        file.unlink()
    work.rmdir()


def command_text(file: Path) -> None:
    with open(file, "w") as out:
        for row in make_questions(per_subject=1500, dev=0, seed=3, learnable=True)["test"]:
            subject = row["subject"].replace("_", " ")
            choices = "".join(f"{letter}. {choice}\n" for letter, choice in zip("ABCD", row["choices"]))
            out.write(f"The following are multiple choice questions (with answers) about {subject}.\n\n")
            out.write(f"{row['question'].strip()}\n{choices}Answer: {'ABCD'[row['answer']]}\n\n")


def q3c(*args: str) -> list[str]:
    return ["node", str(ROOT / "dist/cli/main.js"), *args]


def command_compare(work: Path, config: list[str], port: int, tokenizer: str | None) -> None:
    write_json_lines(work / "data", make_questions(per_subject=35, dev=3, seed=2, learnable=True))
    write_tasks(work / "tasks", work / "data")
    server = subprocess.Popen(q3c("serve", *config, f"--port={port}"), stdout=subprocess.PIPE, text=True)
    try:
        for line in server.stdout:
            print(line, end="")
            if "http://" in line:
                break
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models") as models:
            name = json.load(models)["data"][0]["id"]
        for shots in (0, 3):
            own = work / f"answers-{shots}.jsonl"
            own.unlink(missing_ok=True)
            done = subprocess.run(
                q3c("mmlu", *config, f"--data_path={work / 'data'}", f"--num_fewshot={shots}", f"--output_path={own}", "--json"),
                check=True, stdout=subprocess.PIPE, text=True,
            )
            ours = json.loads(done.stdout.splitlines()[-1])
            answers: dict[str, list[dict]] = {}
            for line in own.read_text().splitlines()[1:]:
                answer = json.loads(line)
                answers.setdefault(answer["subject"], []).append(answer)
            max_length = int(next((x.split("=")[1] for x in config if x.startswith("max_target_length=")), 2048))
            args = {
                "model": name, "base_url": f"http://127.0.0.1:{port}/v1/completions", "max_length": max_length,
                "num_concurrent": 2,
            }
            args |= {"tokenizer_backend": "huggingface", "tokenizer": tokenizer} if tokenizer else {"tokenizer_backend": "remote"}
            result = evaluate(work / "tasks", "local-completions", args, shots)
            different, largest, chosen = 0, 0.0, set()
            for subject, rows in samples_of(result).items():
                assert len(rows) == len(answers[subject]) == 35
                for row, answer in zip(rows, answers[subject], strict=True):
                    theirs = [float(x[0]) for x in row["filtered_resps"]]
                    largest = max(largest, *(abs(a - b) for a, b in zip(theirs, answer["logLikelihoods"], strict=True)))
                    chosen.add(answer["chosen"])
                    different += theirs.index(max(theirs)) != answer["chosen"]
            print(f"{shots} examples: accuracy {ours['overall']['accuracy']:.4f}, {len(chosen)} letters chosen; {different} choices differ; "
                  f"log likelihoods within {largest:.1e}; {ours['truncated']} prompts cut")
            assert different == 0
            for subject in SUBJECTS:
                figures, own_figures = result["results"][f"made_up_{subject}"], ours["subjects"][subject]
                assert figures["acc,none"] == own_figures["accuracy"], subject
                assert abs(figures["acc_stderr,none"] - own_figures["standardError"]) < 1e-12, subject
    finally:
        server.send_signal(signal.SIGTERM)
        print("server exit code", server.wait(30))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("data").add_argument("out", type=Path)
    commands.add_parser("text").add_argument("file", type=Path)
    compare = commands.add_parser("compare")
    compare.add_argument("work", type=Path)
    compare.add_argument("--port", type=int, default=8731)
    compare.add_argument("--tokenizer", metavar="DIR")
    compare.add_argument("config", nargs="+")
    args = parser.parse_args()
    if args.command == "data":
        command_data(args.out)
    elif args.command == "text":
        command_text(args.file)
    else:
        command_compare(args.work, args.config, args.port, args.tokenizer)


if __name__ == "__main__":
    sys.exit(main())
