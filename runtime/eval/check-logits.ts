// Holds a model against golden logits: MaxText's `forward_pass_logit_checker` over any forward pass.

import * as fs from "node:fs";
import { dirname } from "node:path";
import { fail, invariant } from "../../compiler/diag.ts";
import { writeAside } from "../files.ts";
import { type CompareOptions, comparedRange, compareLogits, type LogitTable } from "./compare.ts";
import { type GoldenRecord, readGolden, rowsOf } from "./golden.ts";
import { failuresOf, type LogitCheck, type RecordCheck, recordLines, verdictLines } from "./report.ts";

/** What to check, against what, and where to say so. */
export type CheckLogitsOptions = Omit<CompareOptions, "rtol"> & {
  readonly goldenPath: string;
  /** Logits of every position of a prompt, row-major [tokens, vocab], in a new array each time. */
  readonly forward: (tokens: readonly number[]) => Promise<LogitTable>;
  /** The same of the head that drafts, at every position but the last; not given where the model has none. */
  readonly draft?: ((tokens: readonly number[]) => Promise<LogitTable>) | undefined;
  readonly decode: (id: number) => string;
  /** Relative tolerance, beside `atol`; 1e-5 if not given. */
  readonly rtol?: number | undefined;
  /** The KL divergence that every position must stay below. */
  readonly maxKlDiv?: number | undefined;
  /** Ids that `forward` takes lie below this; without it they are held against its logits, once it has run. */
  readonly modelVocab?: number | undefined;
  /** Where to write the model's logits, as a golden file. They are held in memory until the end. */
  readonly outputLogitsPath?: string | undefined;
  readonly out: (line: string) => void;
};

/** Compares the model with every record of the golden file, and prints what MaxText's checker prints. */
export async function checkLogits(options: CheckLogitsOptions): Promise<LogitCheck> {
  const { goldenPath, outputLogitsPath, out, rtol = 1e-5, atol, maxKlDiv } = options;
  checkOptions(options);
  if (outputLogitsPath !== undefined) prepareOutput(outputLogitsPath);
  const criteria = { ...(atol !== undefined && { atol }), rtol, ...(maxKlDiv !== undefined && { maxKlDiv }) };
  const records: RecordCheck[] = [];
  const outputs: Output[] = [];
  for (const golden of readGolden(goldenPath)) {
    const model = await runModel(golden, options);
    const comparison = compareLogits(model, golden, { ...options, rtol });
    const failures = failuresOf(comparison, criteria);
    const { kind, index, prompt, tokens, place } = golden;
    const passed = failures.length === 0;
    const record = { kind, index, place, prompt, tokens, comparison, failures, passed };
    for (const line of recordLines(record, criteria, options.decode)) out(line);
    records.push(record);
    if (outputLogitsPath !== undefined) outputs.push({ kind, prompt, tokens, ...model });
  }
  if (outputLogitsPath !== undefined) {
    writeOutputs(outputLogitsPath, outputs);
    out(`Saved logits to ${outputLogitsPath}`);
  }
  const check = { passed: records.every(({ passed }) => passed), criteria, records };
  for (const line of verdictLines(check)) out(line);
  return check;
}

function checkOptions(options: CheckLogitsOptions): void {
  const { atol, rtol, maxKlDiv, tokenSize, clipLogitsEpsilon } = options;
  if (atol === undefined && maxKlDiv === undefined) {
    fail(
      {
        code: "check-logits-criteria",
        message: "at least one of --atol and --max_kl_div must be given: without them nothing is checked",
        help: "for float32 weights try --max_kl_div=1e-4",
      },
      2,
    );
  }
  const refuse = (flag: string, expected: string, found: number): never =>
    fail({ code: "check-logits-option", message: `--${flag} must be ${expected}, found ${found}` }, 2);
  for (const [flag, value] of Object.entries({ atol, rtol, max_kl_div: maxKlDiv })) {
    if (value !== undefined && !(value >= 0)) refuse(flag, "a number from 0 up", value);
  }
  if (tokenSize !== undefined && !(Number.isSafeInteger(tokenSize) && tokenSize > 0))
    refuse("token_size", "a positive whole number", tokenSize);
  if (clipLogitsEpsilon !== undefined && !(clipLogitsEpsilon > 0 && clipLogitsEpsilon < 1))
    refuse("clip_logits_epsilon", "a probability between 0 and 1", clipLogitsEpsilon);
}

async function runModel(golden: GoldenRecord, options: CheckLogitsOptions): Promise<LogitTable> {
  const { kind, tokens, place } = golden;
  const rows = rowsOf(kind, tokens.length);
  const { start, end } = comparedRange(rows, options);
  if (start >= end) {
    fail({
      code: "check-logits-nothing",
      message: `${place}: no position is left to compare: the first is skipped, and it is the only one`,
      help: "leave out --skip_first_token, or remove the record",
    });
  }
  const requireBelow = (vocab: number): void => {
    const at = tokens.findIndex((id) => id >= vocab);
    if (at < 0) return;
    fail({
      code: "golden-token",
      message: `${place}: token ${at} is ${tokens[at]}, but the model knows ids below ${vocab}`,
      help: "is this golden file of another model?",
    });
  };
  if (options.modelVocab !== undefined) requireBelow(options.modelVocab);
  const run = kind === "logits" ? options.forward : options.draft;
  if (!run)
    return fail({
      code: "golden-draft",
      message: `${place}: the record has \`${kind}\`, but the model has no head for multi-token prediction`,
      help: "name a checkpoint that holds mtp.* tensors",
    });
  const model = await run(tokens);
  invariant(model.logits.length === rows * model.vocab, "logits of every position");
  requireBelow(model.vocab);
  return model;
}

type Output = LogitTable & Pick<GoldenRecord, "kind" | "prompt" | "tokens">;

// Before the work, not after it: hours of a model's time would be lost.
function prepareOutput(path: string): void {
  if (fs.existsSync(path)) {
    fail({
      code: "file-exists",
      message: `${path}: already exists and would be overwritten`,
      help: "name another path, or remove the file first",
    });
  }
  try {
    fs.mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    fail({ code: "file-unwritable", message: `${path}: cannot be written: ${reason}` });
  }
}

// Numbers that are not finite are spelled as Python's json module spells them.
function writeOutputs(path: string, outputs: readonly Output[]): void {
  const utf8 = new TextEncoder();
  writeAside(path, (append) => {
    const write = (text: string): void => append(utf8.encode(text));
    for (const { kind, prompt, tokens, logits, vocab } of outputs) {
      write(`{"prompt":${JSON.stringify(prompt)},"tokens":[${tokens.join(",")}],"${kind}":[`);
      for (let at = 0; at < logits.length; at += vocab)
        write(`${at > 0 ? "," : ""}[${logits.subarray(at, at + vocab).join(",")}]`);
      write("]}\n");
    }
  });
}
