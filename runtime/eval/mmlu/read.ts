// The usual files of MMLU: Parquet as on the Hugging Face Hub, CSV as first published, JSON Lines.

import * as fs from "node:fs";
import { basename, extname, relative, resolve, sep } from "node:path";
import { fail, type Place, type Source, toPlace } from "../../../compiler/diag.ts";
import { isRecord } from "../../../compiler/json.ts";
import { parseCsv } from "../../data/csv.ts";
import { expandFiles } from "../../data/expand-files.ts";
import { parseJsonLines } from "../../data/json-lines.ts";
import { parquetRows } from "../../data/parquet.ts";
import { readText } from "../../files.ts";
import { isMmluColumn, type MmluRecord, type Question, questionOf } from "./question.ts";

/** The questions of one subject: those asked, and those shown as examples with their answers. */
export type Subject = {
  readonly name: string;
  readonly test: readonly Question[];
  readonly dev: readonly Question[];
};

/** What a path of MMLU is read as. */
type Split = "test" | "dev" | "other";

const SPLITS: ReadonlyMap<string, Split> = new Map([
  ["test", "test"],
  ["dev", "dev"],
  ["val", "other"],
  ["validation", "other"],
  ["train", "other"],
]);

type Reader = (path: string) => AsyncIterable<MmluRecord> | Iterable<MmluRecord>;

const READERS: Readonly<Record<string, Reader>> = {
  ".parquet": parquetRecords,
  ".csv": csvRecords,
  ".jsonl": jsonRecords,
};

/**
 * Reads the test and dev questions at a folder, file or pattern, subjects in order of their names. Files and folders
 * are told apart by the words test, dev, val(idation) and train in their names; a lone file with none is the test.
 */
export async function readMmlu(path: string, cwd: string): Promise<readonly Subject[]> {
  const subjects = new Map<string, { name: string; test: Question[]; dev: Question[] }>();
  for (const { file, split, subject } of mmluFiles(path, cwd)) {
    if (split === "other") continue;
    for await (const record of READERS[extname(file)]?.(file) ?? []) {
      const question = questionOf(record, subject);
      const { subject: name } = question;
      const found = subjects.get(name) ?? { name, test: [], dev: [] };
      subjects.set(name, found);
      found[split].push(question);
    }
  }
  const asked = [...subjects.values()].filter(({ test }) => test.length > 0);
  if (asked.length > 0) return asked.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return fail({
    code: "mmlu-empty",
    message: "there are no test questions here",
    at: { file: resolve(cwd, path) },
    help: "expected files of the test split: test-*.parquet, test/<subject>_test.csv, or test.jsonl",
  });
}

type MmluFile = { readonly file: string; readonly split: Split; readonly subject: string };

function mmluFiles(path: string, cwd: string): readonly MmluFile[] {
  const root = resolve(cwd, path);
  const isFolder = fs.statSync(root, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const inside = (file: string): readonly string[] =>
    isFolder ? relative(root, file).split(sep) : [basename(file)];
  const files = expandFiles([path], cwd).filter((file) => Object.hasOwn(READERS, extname(file)));
  if (files.length === 0) {
    fail({
      code: "mmlu-empty",
      message: `expected files in ${Object.keys(READERS).join(", ")}, found none`,
      at: { file: root },
    });
  }
  // The dataset on the Hub holds every question twice: by subject, and once more in a folder `all`.
  const all = files.filter((file) => inside(file).slice(0, -1).includes("all"));
  const isAlone = files.length === 1;
  return (all.length > 0 ? all : files).map((file) => ({ file, ...namedBy(inside(file), isAlone) }));
}

/** What the names on the way to a file say, the nearest first. */
function namedBy(parts: readonly string[], isAlone: boolean): Pick<MmluFile, "split" | "subject"> {
  const names = parts.toReversed().map((part, i) => (i === 0 ? part.slice(0, -extname(part).length) : part));
  const words = names.map((name) => name.split(/[^a-z]+/i).map((word) => word.toLowerCase()));
  const split = words.flat().find((word) => SPLITS.has(word));
  // `anatomy_test`, `test-00000-of-00001`, `test`: what is left of the nearest name that says more than its split.
  const subject = names
    .map((name) => name.replace(/[-_.]?(?:test|dev|val|validation|train)(?:-\d+-of-\d+)?$/i, ""))
    .find((name) => name !== "");
  return {
    split: SPLITS.get(split ?? "") ?? (isAlone ? "test" : "other"),
    subject: subject ?? "questions",
  };
}

async function* parquetRecords(path: string): AsyncGenerator<MmluRecord> {
  let row = 0;
  for await (const values of parquetRows(path, isMmluColumn)) {
    const number = ++row;
    yield { values, place: () => ({ file: path, part: `row ${number}` }) };
  }
}

// The files first published have no header: a question, its choices, and the letter of the answer.
function* csvRecords(path: string): Generator<MmluRecord> {
  const source = { file: path, text: readText(path) };
  let header: readonly string[] | undefined;
  let isFirst = true;
  for (const { fields, start } of parseCsv(source)) {
    if (isFirst) {
      isFirst = false;
      header = isHeader(fields) ? fields : undefined;
      if (header) continue;
    }
    const names = header ?? ["question", ...["A", "B", "C", "D"].slice(0, fields.length - 2), "answer"];
    const place = placeIn(source, start);
    if (fields.length !== names.length || fields.length < 4) {
      fail({
        code: "mmlu-question",
        message: `expected ${header?.length ?? 6} fields, found ${fields.length}`,
        at: place(),
        help: "question, A, B, C, D, answer; a field with a comma or a line end in it stands in double quotes",
      });
    }
    yield { values: Object.fromEntries(names.map((name, i) => [name, fields[i]])), place };
  }
}

const isHeader = (fields: readonly string[]): boolean => {
  const names = new Set(fields.map((field) => field.trim().toLowerCase()));
  return ["question", "answer", "a", "b"].every((name) => names.has(name));
};

function* jsonRecords(path: string): Generator<MmluRecord> {
  const source = { file: path, text: readText(path) };
  for (const { value, start } of parseJsonLines(source)) {
    const place = placeIn(source, start);
    if (isRecord(value)) yield { values: value, place };
    else fail({ code: "mmlu-question", message: "expected a JSON object", at: place() });
  }
}

const placeIn =
  (source: Source, start: number): (() => Place) =>
  () =>
    toPlace({ source, start, end: start });
