// Golden logits in a pickle, as MaxText's `--output-format=pickle` writes them: a list of dicts with NumPy arrays.

import { fail } from "../../compiler/diag.ts";
import { readAt } from "../files.ts";
import { assemble, type Fields, type GoldenRecord, type Table } from "./golden-record.ts";
import { decode, type WholeArray } from "./numpy.ts";
import { type PickleValue, readPickle } from "./pickle.ts";

/** The records of an open pickle. The numbers of one record are held at a time. */
export function* goldenInPickle(path: string, file: number): Generator<GoldenRecord, void> {
  const all = readPickle(path, file);
  if (typeof all !== "object" || all?.kind !== "list")
    return fail({
      code: "golden-record",
      message: "the pickle is not a list of records",
      at: { file: path },
    });
  if (all.items.length === 0)
    fail({ code: "golden-empty", message: "the file has no records", at: { file: path } });
  for (const [index, item] of all.items.entries()) {
    const place = { file: path, part: `record ${index}` };
    const refuse = (problem: string): never => fail({ code: "golden-record", message: problem, at: place });
    if (typeof item !== "object" || item?.kind !== "dict") return refuse("a record is a dict");
    yield* assemble(place, index, fieldsOf(item.entries, file, refuse));
  }
}

type Refuse = (problem: string) => never;

function fieldsOf(entries: ReadonlyMap<PickleValue, PickleValue>, file: number, refuse: Refuse): Fields {
  const fields: Fields = {};
  const read = (name: string, take: (value: PickleValue) => void): void => {
    const value = entries.get(name);
    if (value !== undefined) take(value);
  };
  read("prompt", (value) => {
    fields.prompt = typeof value === "string" ? value : refuse("`prompt` is not a text");
  });
  read("tokens", (value) => {
    fields.tokens = numbersOf("tokens", value, file, refuse);
    const stranger = fields.tokens.find((id) => !Number.isSafeInteger(id) || id < 0);
    if (stranger !== undefined) refuse(`a token id is a whole number from 0 up, found ${stranger}`);
  });
  read("attention_mask", (value) => {
    fields.attentionMask = numbersOf("attention_mask", value, file, refuse);
  });
  for (const kind of ["logits", "mtp_logits"] as const)
    read(kind, (value) => {
      fields[kind] = tableOf(kind, value, file, refuse);
    });
  return fields;
}

const isWhole = (value: PickleValue): value is WholeArray =>
  typeof value === "object" &&
  value?.kind === "array" &&
  value.dtype !== undefined &&
  value.bytes !== undefined;

/** An array's bytes. Its length was checked against the file when it was read. */
const bytesOf = ({ bytes }: WholeArray, file: number): Uint8Array => readAt(file, bytes.offset, bytes.length);

/** A row of numbers: an array of one axis (or one row), or a list. */
function numbersOf(name: string, value: PickleValue, file: number, refuse: Refuse): readonly number[] {
  if (isWhole(value)) {
    const sizes = value.shape.filter((size) => size !== 1);
    if (sizes.length > 1)
      return refuse(`\`${name}\` is an array [${value.shape.join(", ")}], expected one axis`);
    const count = value.shape.reduce((n, size) => n * size, 1);
    return [...decode(value, bytesOf(value, file), new Float64Array(count))];
  }
  if (typeof value === "object" && value?.kind === "list" && value.items.every((x) => typeof x === "number"))
    return value.items as readonly number[];
  return refuse(`\`${name}\` is neither an array nor a list of numbers`);
}

function tableOf(name: string, value: PickleValue, file: number, refuse: Refuse): Table {
  if (!isWhole(value)) return refuse(`\`${name}\` is not a NumPy array`);
  const { shape } = value;
  const [rows = 0, vocab = 0] = shape;
  if (shape.length !== 2)
    return refuse(`\`${name}\` is an array [${shape.join(", ")}], expected [tokens, vocab]`);
  const logits = decode(value, bytesOf(value, file), new Float32Array(rows * vocab));
  const bad = logits.findIndex((x) => !Number.isFinite(x));
  if (bad >= 0)
    return refuse(`the logit at position ${Math.floor(bad / vocab)}, id ${bad % vocab} is ${logits[bad]}`);
  return { logits, vocab, rows };
}
