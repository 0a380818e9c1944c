import * as fs from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "@jest/globals";
import fc from "fast-check";
import { formatDiagnostic, Q3Error } from "../../compiler/diag.ts";
import { attempt, collectDamage } from "../../runtime/checkpoint/damage.ts";
import type { Location } from "../../runtime/checkpoint/ocdbt/data-files.ts";
import { encodeManifest } from "../../runtime/checkpoint/ocdbt/manifest.ts";
import { encodeNode } from "../../runtime/checkpoint/ocdbt/node.ts";
import { openOcdbt, readOcdbtEntries } from "../../runtime/checkpoint/ocdbt/read.ts";
import { createOcdbt, mergeOcdbt, type OcdbtOptions } from "../../runtime/checkpoint/ocdbt/write.ts";
import { failure } from "./support.ts";

const ROOT = fs.mkdtempSync(join(process.env["TMPDIR"] ?? "/tmp", "q3c-ocdbt-"));
afterAll(() => fs.rmSync(ROOT, { recursive: true, force: true }));
let made = 0;
const fresh = (): string => join(ROOT, `${made++}`);

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
const ascii = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));

type Contents = ReadonlyMap<string, Uint8Array>;

function contents(path: string): Contents {
  const db = openOcdbt(path);
  const all = new Map([...db.keys.keys()].map((key) => [key, Uint8Array.from(db.read(key))]));
  for (const [key, value] of all) expect(db.keys.get(key)).toBe(value.length);
  db.close();
  return all;
}

function write(path: string, values: Contents, options?: OcdbtOptions): void {
  const db = createOcdbt(path, options);
  for (const [key, value] of values) db.put(key, [value]);
  db.commit();
}

// What reference/formats.md writes out byte by byte and TensorStore has read.
const FILE = "d/00112233445566778899aabbccddeeff";
const NODE = hex(
  "0cdb20de49000000000000000000 00 01 22 00 642f3030313132323333343435353636373738383939616162626363646465656666" +
    "02 02 03 02 612f62 6364 05 02 01 00 00 00 7879 c1205c26",
);
const MANIFEST = hex(
  "0cdb3a2a62000000000000000000 000102030405060708090a0b0c0d0e0f 00 8008 80c2d72f 04 00" +
    "01 22 00 642f3030313132323333343435353636373738383939616162626363646465656666" +
    "01 01 00 00 05 49 02 49 05 00002a36fe9c9717 00 4e4a4ab9",
);

test("the written-out database is read", () => {
  const path = fresh();
  fs.mkdirSync(join(path, "d"), { recursive: true });
  fs.writeFileSync(join(path, "manifest.ocdbt"), MANIFEST);
  fs.writeFileSync(join(path, FILE), Buffer.concat([ascii("HELLO"), NODE]));
  expect(contents(path)).toEqual(
    new Map([
      ["a/b", ascii("HELLO")],
      ["a/cd", ascii("xy")],
    ]),
  );
});

test("the same structures are written as the same bytes", () => {
  const file = { base: "", path: FILE };
  const entries = [
    { key: ascii("a/b"), value: { file, offset: 0, length: 5 } },
    { key: ascii("a/cd"), value: ascii("xy") },
  ];
  expect(Uint8Array.from(encodeNode({ height: 0, entries }))).toEqual(NODE);
  const root = {
    location: { file, offset: 5, length: 73 },
    height: 0,
    keys: 2,
    treeBytes: 73,
    indirectBytes: 5,
  };
  const settings = {
    uuid: Uint8Array.from({ length: 16 }, (_, i) => i),
    kind: "single",
    maxInlineBytes: 1024,
    maxNodeBytes: 100_000_000,
  } as const;
  const version = { generation: 1, root, time: 1_700_000_000_000_000_000n };
  expect(Uint8Array.from(encodeManifest(settings, version))).toEqual(MANIFEST);
});

// Made by tests/oracles/ocdbt_golden.py.
test.each([
  ["levels", 300],
  ["versions", 12],
  ["numbered", 60],
])("what TensorStore wrote is read: %s", (name, count) => {
  const golden = join(import.meta.dirname, "ocdbt-goldens", name);
  const expected = Array.from({ length: count }, (_, i): [string, Uint8Array] => [
    `layers.${Math.floor(i / 10)}.kernel/c/${i % 10}`,
    Uint8Array.from({ length: (7 * i) % 97 }, (_, j) => (i + j) % 251),
  ]);
  expect(contents(golden)).toEqual(new Map(expected));
});

// Short letters make long shared prefixes likely; some keys hold letters of two bytes and more.
const keys = fc.string({ unit: fc.constantFrom("a", "b", "/", "é", "€", "𝄞", "\uffff"), maxLength: 12 });
const databases = fc
  .dictionary(keys, fc.uint8Array({ maxLength: 40 }), { maxKeys: 60, noNullPrototype: true })
  .map((record) => new Map(Object.entries(record)));
const options = fc.record({
  maxInlineBytes: fc.nat(50),
  dataFileBytes: fc.integer({ min: 100, max: 1000 }),
  maxNodeBytes: fc.constantFrom(1, 200, 1000, 1_000_000),
});
const inByteOrder = (values: Contents): readonly string[] =>
  [...values.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

test("what is written is read, however it is laid out", () => {
  const path = fresh();
  fc.assert(
    fc.property(databases, options, (values, layout) => {
      fs.rmSync(path, { recursive: true, force: true });
      write(path, values, layout);
      const found = contents(path);
      expect(found).toEqual(values);
      expect([...found.keys()]).toEqual(inByteOrder(values));
    }),
    // Few, because each waits for the disk.
    { numRuns: 30 },
  );
});

test("databases that several wrote are read as one, values where they lie", () => {
  const path = fresh();
  fc.assert(
    fc.property(databases, fc.integer({ min: 1, max: 3 }), options, (values, parts, layout) => {
      fs.rmSync(path, { recursive: true, force: true });
      const children = Array.from({ length: parts }, (_, i) => `ocdbt.process_${i}`);
      const shared = new Map([["zz/zarr.json", ascii("{}")]]);
      for (const [i, child] of children.entries()) {
        const own = [...values].filter(([key]) => key.length % parts === i);
        write(join(path, child), new Map([...own, ...shared]), {
          ...layout,
          maxInlineBytes: 2 + layout.maxInlineBytes,
        });
      }
      mergeOcdbt(path, children);
      expect(contents(path)).toEqual(new Map([...values, ...shared]));
    }),
    { numRuns: 10 },
  );
});

test("a value comes in parts and is read in parts", () => {
  const path = fresh();
  const value = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 31) & 0xff);
  const db = createOcdbt(path, { maxInlineBytes: 8 });
  // Parts are handed over in one buffer that is used again.
  const buffer = new Uint8Array(7);
  db.put(
    "long",
    (function* () {
      for (let at = 0; at < value.length; at += 7) {
        const part = value.subarray(at, at + 7);
        buffer.set(part);
        yield buffer.subarray(0, part.length);
      }
    })(),
  );
  db.put("short", [ascii("ab"), ascii(""), ascii("cd")]);
  db.put("empty", []);
  db.commit();
  const found = openOcdbt(path);
  expect(found.read("long")).toEqual(value);
  expect(found.read("long", { offset: 99_999, length: 5 })).toEqual(value.slice(99_999, 100_004));
  expect(Uint8Array.from(found.read("short", { offset: 1, length: 2 }))).toEqual(ascii("bc"));
  expect(found.read("empty").length).toBe(0);
  expect(found.fileOf("long")).toMatch(/\/d\/[0-9a-f]{32}$/);
  expect(failure(() => found.read("shart"))).toMatchObject({
    code: "key-missing",
    message: expect.stringContaining("did you mean `short`?"),
  });
  found.close();
});

test("nothing is there before the commit, and nothing is left without one", () => {
  const path = fresh();
  const db = createOcdbt(path, { maxInlineBytes: 0 });
  db.put("k", [ascii("value")]);
  expect(failure(() => openOcdbt(path)).code).toBe("checkpoint-missing");
  db.abandon();
  expect(fs.readdirSync(join(path, "d"))).toEqual([]);
});

test("a database is not written over, and a merge of different values is refused", () => {
  const path = fresh();
  write(path, new Map([["k", ascii("1")]]));
  expect(failure(() => createOcdbt(path)).code).toBe("checkpoint-exists");
  write(join(path, "m/ocdbt.process_0"), new Map([["k", ascii("1")]]));
  write(join(path, "m/ocdbt.process_1"), new Map([["k", ascii("2")]]));
  const children = ["ocdbt.process_0", "ocdbt.process_1"];
  expect(failure(() => mergeOcdbt(join(path, "m"), children)).message).toContain("the key `k`");
  expect(failure(() => openOcdbt(join(path, "m"))).code).toBe("ocdbt-unfinished");
});

/** Structures of a database with two levels: the files, and whether bytes in them are checksummed. */
function sample(): { readonly path: string; readonly values: Contents; readonly files: readonly string[] } {
  const path = fresh();
  const values = new Map(
    Array.from({ length: 12 }, (_, i): [string, Uint8Array] => [
      `layer.${i}/c/0`,
      new Uint8Array(i + 1).fill(i),
    ]),
  );
  // All values lie in the tree, so every byte of every file is under a checksum.
  write(path, values, { maxNodeBytes: 300 });
  const data = fs.readdirSync(join(path, "d")).map((name) => join(path, "d", name));
  return { path, values, files: [join(path, "manifest.ocdbt"), ...data] };
}

test("flipped, cut and lengthened files give the exact values or one of our errors", () => {
  const { path, values, files } = sample();
  const originals = files.map((file) => fs.readFileSync(file));
  const damage = fc.record({
    file: fc.nat(files.length - 1),
    at: fc.nat(),
    kind: fc.constantFrom("flip", "cut", "overwrite", "tail"),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }),
  });
  fc.assert(
    fc.property(damage, ({ file, at, kind, bytes }) => {
      const [name, original] = [files[file]!, originals[file]!];
      const place = at % original.length;
      const damaged = Buffer.from(original);
      if (kind === "flip") damaged[place]! ^= 1 << (bytes[0]! & 7);
      if (kind === "overwrite") damaged.set(bytes.subarray(0, original.length - place), place);
      const whole =
        kind === "cut"
          ? damaged.subarray(0, place)
          : kind === "tail"
            ? Buffer.concat([damaged, bytes])
            : damaged;
      fs.writeFileSync(name, whole);
      try {
        expect(contents(path)).toEqual(values);
      } catch (error) {
        if (!(error instanceof Q3Error)) throw error;
        expect(error.message).toContain(path);
      } finally {
        fs.writeFileSync(name, original);
      }
    }),
    { numRuns: 400 },
  );
});

test("structures with a right checksum and wrong contents give one of our errors", () => {
  const path = fresh();
  fs.mkdirSync(join(path, "d"), { recursive: true });
  const file = { base: "", path: FILE };
  const wrongs = fc.record({
    entries: fc.array(
      fc.record({
        key: fc.uint8Array({ maxLength: 3 }),
        value: fc.oneof(
          fc.uint8Array({ maxLength: 4 }),
          fc.record({
            file: fc.record({
              base: fc.constant(""),
              path: fc.constantFrom(FILE, "d/none", "../x", "/etc/hosts"),
            }),
            offset: fc.oneof(fc.nat(100), fc.maxSafeNat()),
            length: fc.oneof(fc.nat(10), fc.maxSafeNat()),
          }),
        ),
      }),
      { minLength: 1, maxLength: 4 },
    ),
    offset: fc.nat(3),
    height: fc.constantFrom(0, 0, 0, 1),
    trim: fc.constantFrom(0, 0, 1),
  });
  fc.assert(
    fc.property(wrongs, ({ entries, offset, height, trim }) => {
      const node = encodeNode({ height: 0, entries });
      fs.writeFileSync(join(path, FILE), node);
      const location = { file, offset, length: node.length - trim };
      const root = { location, height, keys: entries.length, treeBytes: node.length, indirectBytes: 0 };
      const settings = {
        uuid: new Uint8Array(16),
        kind: "single",
        maxInlineBytes: 0,
        maxNodeBytes: 0,
      } as const;
      fs.writeFileSync(
        join(path, "manifest.ocdbt"),
        encodeManifest(settings, { generation: 1, root, time: 0n }),
      );
      try {
        expect(contents(path).size).toBe(entries.length);
      } catch (error) {
        if (!(error instanceof Q3Error)) throw error;
        expect(error.message).toContain(path);
      }
    }),
    { numRuns: 300 },
  );
});

test("a tree that refers to one node again and again is refused, not unfolded", () => {
  const path = fresh();
  fs.mkdirSync(join(path, "d"), { recursive: true });
  const file = { base: "", path: FILE };
  const parts: Uint8Array[] = [encodeNode({ height: 0, entries: [{ key: ascii("x"), value: ascii("") }] })];
  let at = 0;
  for (let height = 1; height <= 60; height++) {
    const below = parts.at(-1)!;
    const child = {
      location: { file, offset: at, length: below.length },
      height: height - 1,
      keys: 1,
      treeBytes: 1,
      indirectBytes: 0,
    };
    at += below.length;
    const entries = ["a", "b"].map((letter) => ({ key: ascii(letter), shared: 1, child }));
    parts.push(encodeNode({ height, entries }));
  }
  fs.writeFileSync(join(path, FILE), Buffer.concat(parts));
  const root = {
    location: { file, offset: at, length: parts.at(-1)!.length },
    height: 60,
    keys: 1,
    treeBytes: 1,
    indirectBytes: 0,
  };
  const settings = { uuid: new Uint8Array(16), kind: "single", maxInlineBytes: 0, maxNodeBytes: 0 } as const;
  fs.writeFileSync(join(path, "manifest.ocdbt"), encodeManifest(settings, { generation: 1, root, time: 0n }));
  expect(failure(() => openOcdbt(path)).message).toContain("the node is part of another");
});

test("a data file that is gone or cut short is named, with the key", () => {
  const path = fresh();
  write(path, new Map([["w/c/0", new Uint8Array(100)]]), { maxInlineBytes: 0, dataFileBytes: 10 });
  const [file] = openOcdbtFiles(path);
  fs.truncateSync(file!, 40);
  const cut = failure(() => openOcdbt(path));
  expect(cut.code).toBe("ocdbt-damaged");
  expect(cut.message).toContain(
    `${file}: ocdbt-damaged: the value of \`w/c/0\` is expected at bytes 0 to 100, but the file has 40`,
  );
  fs.rmSync(file!);
  expect(failure(() => openOcdbt(path)).message).toContain(`${file}: file-missing: no such file`);
});

test("every data file that is gone or cut short is named, with all that was lost with it", () => {
  const path = fresh();
  const keys = ["a/c/0", "a/c/1", "b/c/0", "d/c/0"];
  write(path, new Map(keys.map((key) => [key, new Uint8Array(100)])), {
    maxInlineBytes: 0,
    dataFileBytes: 200,
  });
  const entries = readOcdbtEntries(path);
  const fileOf = (key: string): string => {
    const value = entries.find((entry) => Buffer.from(entry.key).toString() === key)?.value as Location;
    return join(path, value.file.path);
  };
  expect(fileOf("a/c/0")).toBe(fileOf("a/c/1"));
  fs.rmSync(fileOf("a/c/0"));
  fs.truncateSync(fileOf("b/c/0"), 10);
  const { message } = failure(() => openOcdbt(path));
  expect(message).toContain(`${fileOf("a/c/0")}: file-missing: no such file`);
  expect(message).toContain("cannot be read without it: a\n");
  expect(message).toContain(`${fileOf("b/c/0")}: ocdbt-damaged: the value of \`b/c/0\` is expected`);
  expect(message).toContain("cannot be read without it: b, d\n");
});

test("damage to a node below the root costs the keys below it, and is heard of", () => {
  const path = fresh();
  const values = new Map(Array.from({ length: 60 }, (_, i) => [`k${10 + i}`, ascii(`value ${i}`)]));
  write(path, values, { maxNodeBytes: 200 });
  const file = join(path, "d", fs.readdirSync(join(path, "d"))[0]!);
  const right = fs.readFileSync(file);
  let [partly, wholly] = [0, 0];
  for (let at = 0; at < right.length; at += 11) {
    fs.writeFileSync(file, Buffer.from(right).fill(right[at]! ^ 4, at, at + 1));
    const damage = collectDamage();
    const db = attempt(damage.note, () => openOcdbt(path, damage.note));
    expect(damage.problems().map(formatDiagnostic).join()).toContain(`${file}: ocdbt-damaged: node at byte`);
    for (const key of db?.keys.keys() ?? []) expect(db?.read(key)).toEqual(values.get(key));
    expect(db?.keys.size ?? 0).toBeLessThan(values.size);
    if (db) partly++;
    else wholly++;
    db?.close();
    expect(failure(() => openOcdbt(path)).code).toBe(damage.problems()[0]?.code);
  }
  fs.writeFileSync(file, right);
  expect(partly).toBeGreaterThan(wholly);
});

function openOcdbtFiles(path: string): readonly string[] {
  const db = openOcdbt(path);
  const files = [...db.keys.keys()].map((key) => db.fileOf(key));
  db.close();
  return files;
}
