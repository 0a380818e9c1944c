// Pieces of any size at any place of a file, whether or not they go past the page cache.
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { openDirect } from "../../runtime/direct-file.ts";
import { scratch } from "../support/scratch.ts";

const directory = scratch();
const MEGABYTE = 1 << 20;
const noise = randomBytes(25 * MEGABYTE);

/** A file in pieces: those that are large go past the cache from where blocks of the disk begin. */
const pieces = fc.array(
  fc.oneof(fc.nat(9000), fc.integer({ min: MEGABYTE, max: 6 * MEGABYTE }), fc.constant(4 * MEGABYTE)),
  { minLength: 1, maxLength: 4 },
);

test.each(["one after another", "in another order"])("pieces %s are the file", (order) => {
  let files = 0;
  fc.assert(
    fc.property(pieces, fc.nat(MEGABYTE), (sizes, from) => {
      const path = join(directory, `${order}-${files++}`);
      const total = sizes.reduce((sum, size) => sum + size, 0);
      const whole = noise.subarray(from, from + total);
      const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((sum, size) => sum + size, 0));
      const file = openDirect(path, "wx");
      const turns = [...sizes.keys()];
      for (const i of order === "one after another" ? turns : turns.toReversed())
        file.write(whole.subarray(starts[i]!, starts[i]! + sizes[i]!), starts[i]!);
      file.flush();
      file.close();
      expect(Buffer.compare(fs.readFileSync(path), whole)).toBe(0);
      fs.rmSync(path);
    }),
    { numRuns: 12 },
  );
});

test("neighbours that two writers write meet within a block of the disk", () => {
  const path = join(directory, "shared");
  const whole = noise.subarray(0, 5 * MEGABYTE + 77);
  fs.writeFileSync(path, "");
  const [one, other] = [openDirect(path, "r+"), openDirect(path, "r+")];
  const cuts = [0, 1_500_001, 2_900_003, whole.length];
  for (const [i, start] of cuts.slice(0, -1).entries())
    (i % 2 === 0 ? one : other).write(whole.subarray(start, cuts[i + 1]), start);
  one.close();
  other.close();
  expect(Buffer.compare(fs.readFileSync(path), whole)).toBe(0);
});

test("a new file does not take the place of one that is there", () => {
  const path = join(directory, "taken");
  fs.writeFileSync(path, "mine");
  expect(() => openDirect(path, "wx")).toThrow("EEXIST");
  expect(fs.readFileSync(path, "utf8")).toBe("mine");
});
