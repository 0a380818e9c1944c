// Holds a model against golden logits: MaxText's `forward_pass_logit_checker` over any forward pass.

import { fail, invariant } from "../../compiler/diag.ts";
import { type CompareOptions, comparedRange, compareLogits, type LogitTable } from "./compare.ts";
import { type GoldenRecord, rowsOf } from "./golden-record.ts";
import { openGoldenWriter } from "./golden-writer.ts";
import { failuresOf, type LogitCheck, type RecordCheck, recordLines, verdictLines } from "./report.ts";

/** What computes logits. */
export type CheckedModel = {
  /** Logits of every position of a prompt, row-major [tokens, vocab], in a new array each time. */
  readonly forward: (tokens: readonly number[]) => Promise<LogitTable>;
  /** The same of the head that drafts, at every position but the last; not given where the model has none. */
  readonly draft?: ((tokens: readonly number[]) => Promise<LogitTable>) | undefined;
};

/** What to check, against what, and where to say so. */
export type CheckLogitsOptions = Omit<CompareOptions, "rtol"> & {
  /** Golden records, each asked for when the one before is done. */
  readonly golden: Iterable<GoldenRecord> | AsyncIterable<GoldenRecord>;
  /** Loads the model; asked for when a first record is there to run. */
  readonly open: () => Promise<CheckedModel>;
  readonly decode: (id: number) => string;
  /** Relative tolerance, beside `atol`; 1e-5 if not given. */
  readonly rtol?: number | undefined;
  /** The KL divergence that every position must stay below. */
  readonly maxKlDiv?: number | undefined;
  /** Ids that `forward` takes lie below this; without it they are held against its logits, once it has run. */
  readonly modelVocab?: number | undefined;
  /** Where to write the model's logits, as a golden file, and the KL divergence both ways. */
  readonly outputLogitsPath?: string | undefined;
  /** Whether that file may take the place of another. */
  readonly overwrite?: boolean | undefined;
  readonly out: (line: string) => void;
};

/** Compares the model with every golden record, and prints what MaxText's checker prints. */
export async function checkLogits(options: CheckLogitsOptions): Promise<LogitCheck> {
  const { outputLogitsPath, out, rtol = 1e-5, atol, maxKlDiv } = options;
  checkOptions(options);
  // Before the work, not after it: hours of a model's time would be lost.
  const output =
    outputLogitsPath === undefined
      ? undefined
      : openGoldenWriter(outputLogitsPath, "json", { overwrite: options.overwrite });
  const criteria = { ...(atol !== undefined && { atol }), rtol, ...(maxKlDiv !== undefined && { maxKlDiv }) };
  const records: RecordCheck[] = [];
  let opened: CheckedModel | undefined;
  try {
    for await (const golden of options.golden) {
      opened ??= await options.open();
      const model = await runModel(golden, opened, options);
      const comparison = compareLogits(model, golden, { ...options, rtol });
      const failures = failuresOf(comparison, criteria);
      const { kind, index, prompt, tokens, place } = golden;
      const passed = failures.length === 0;
      const record = { kind, index, place, prompt, tokens, comparison, failures, passed };
      for (const line of recordLines(record, criteria, options.decode)) out(line);
      records.push(record);
      output?.write({
        prompt,
        tokens,
        [kind]: model,
        // Of the positions compared: what golden loses by the model, and the model by golden.
        kl_golden_model: Float64Array.from(comparison.kl),
        kl_model_golden: Float64Array.from(comparison.reverseKl),
      });
    }
    output?.finish();
  } finally {
    output?.abandon();
  }
  if (output) out(`Saved logits to ${outputLogitsPath}`);
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

async function runModel(
  golden: GoldenRecord,
  { forward, draft }: CheckedModel,
  options: CheckLogitsOptions,
): Promise<LogitTable> {
  const { kind, tokens, place } = golden;
  const rows = rowsOf(kind, tokens.length);
  const { start, end } = comparedRange(rows, options);
  if (start >= end) {
    fail({
      code: "check-logits-nothing",
      message: "no position is left to compare: the first is skipped, and it is the only one",
      at: place,
      help: "leave out --skip_first_token, or remove the record",
    });
  }
  const requireBelow = (vocab: number): void => {
    const at = tokens.findIndex((id) => id >= vocab);
    if (at < 0) return;
    fail({
      code: "golden-token",
      message: `token ${at} is ${tokens[at]}, but the model knows ids below ${vocab}`,
      at: place,
      help: "is this golden file of another model?",
    });
  };
  if (options.modelVocab !== undefined) requireBelow(options.modelVocab);
  const run = kind === "logits" ? forward : draft;
  if (!run)
    return fail({
      code: "golden-draft",
      message: `the record has \`${kind}\`, but the model has no head for multi-token prediction`,
      at: place,
      help: "name a checkpoint that holds mtp.* tensors",
    });
  const model = await run(tokens);
  invariant(model.logits.length === rows * model.vocab, "logits of every position");
  requireBelow(model.vocab);
  return model;
}
