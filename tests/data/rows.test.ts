// Records of CSV, JSON Lines and Parquet files.
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { parseCsv } from "../../runtime/data/csv.ts";
import { parseJsonLines } from "../../runtime/data/json-lines.ts";
import { parquetRows } from "../../runtime/data/parquet.ts";
import { failure, fileOf } from "../checkpoint/support.ts";

const csv = (text: string): readonly (readonly string[])[] =>
  [...parseCsv({ file: "q.csv", text })].map(({ fields }) => fields);

const quoted = (field: string): string => `"${field.replaceAll('"', '""')}"`;

test("every table is read as it was written, whatever its line ends", () => {
  const field = fc.string({ unit: fc.constantFrom("a", '"', ",", "\n", "\r", " ", "é", "🙂") });
  const table = fc.array(fc.array(field, { minLength: 1, maxLength: 4 }), { maxLength: 5 });
  fc.assert(
    fc.property(table, fc.constantFrom("\n", "\r\n", "\r"), fc.boolean(), (rows, end, hasLast) => {
      const text = rows.map((row) => row.map(quoted).join(",")).join(end);
      expect(csv(text + (hasLast ? end : ""))).toEqual(rows);
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.array(fc.stringMatching(/^[^,"\r\n]+$/), { minLength: 1 })), (rows) => {
      const written = rows.filter(([first]) => !first?.startsWith("\uFEFF"));
      expect(csv(written.map((row) => row.join(",")).join("\n"))).toEqual(written);
    }),
  );
});

test("empty fields, blank lines, a byte order mark, and a quote inside a plain field", () => {
  expect(csv('\uFEFFa,,\n\n\r\n"",\n5" disk,"x"\n""')).toEqual([
    ["a", "", ""],
    ["", ""],
    ['5" disk', "x"],
    [""],
  ]);
  expect(csv("")).toEqual([]);
  expect([...parseCsv({ file: "q.csv", text: 'a\n"b\nc"\nd' })].map(({ start }) => start)).toEqual([0, 2, 8]);
});

test("what is wrong in a CSV file is pointed at", () => {
  expect(failure(() => csv('a,b\nc,"d\ne'))).toEqual({
    code: "csv-syntax",
    message: expect.stringMatching(/^q\.csv:2:3: csv-syntax: this quote is never closed\n/),
  });
  expect(failure(() => csv('a,b\n"c"d,e')).message).toMatch(/^q\.csv:2:4: .*expected a comma .* found `d`\n/);
});

test("JSON Lines: values with their places, and faults at theirs", () => {
  const read = (text: string) => [...parseJsonLines({ file: "q.jsonl", text })];
  expect(read('{"a":1}\n\n  \n[2]\r\n"é"')).toEqual([
    { value: { a: 1 }, start: 0 },
    { value: [2], start: 12 },
    { value: "é", start: 17 },
  ]);
  expect(failure(() => read('1\n{"a":1,}\n2')).message).toMatch(/^q\.jsonl:2:8: json-syntax: malformed JSON/);
});

async function all<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const row of rows) list.push(row);
  return list;
}

test("Parquet: all row groups, only the columns wanted, and broken files", async () => {
  const path = join(process.cwd(), "tests/data/mmlu/parquet/all/test-00000-of-00001.parquet");
  const rows = await all(parquetRows(path, (name) => name === "choices" || name === "answer"));
  expect(rows).toHaveLength(28);
  expect(rows[0]).toEqual({ choices: ['the "first", of four', "a\nb", "3", "none of A, B, C"], answer: 3n });
  const broken = fileOf("PAR1 no, not really PAR1", "broken.parquet");
  await expect(all(parquetRows(broken, () => true))).rejects.toThrow(/broken\.parquet: parquet-malformed: /);
  await expect(all(parquetRows("/nowhere.parquet", () => true))).rejects.toThrow(/file-missing/);
});
