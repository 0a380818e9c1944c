import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { createDirectory, openDirectory } from "../../runtime/checkpoint/zarr/directory.ts";
import { scratch } from "../support/scratch.ts";
import { failure } from "./support.ts";

test("keys are paths, sorted; values come whole or in part", () => {
  const path = join(scratch(), "store");
  const writer = createDirectory(path);
  writer.put("w/c/1/0", [Uint8Array.of(1, 2), Uint8Array.of(), Uint8Array.of(3)]);
  writer.put("w/c/0", []);
  writer.put("a", [Uint8Array.of(9)]);
  expect(() => writer.put("a", [])).toThrow("a is put twice");
  writer.commit();
  const store = openDirectory(path);
  expect([...store.keys]).toEqual([
    ["a", 1],
    ["w/c/0", 0],
    ["w/c/1/0", 3],
  ]);
  expect(store.read("w/c/1/0")).toEqual(Uint8Array.of(1, 2, 3));
  expect(store.read("w/c/1/0", { offset: 1, length: 1 })).toEqual(Uint8Array.of(2));
  expect(store.fileOf("w/c/0")).toBe(join(path, "w", "c", "0"));
});

test("links to files are followed, links to directories and to nowhere are not", () => {
  const path = scratch();
  fs.writeFileSync(join(path, "real"), "x");
  fs.symlinkSync("real", join(path, "link"));
  fs.symlinkSync(".", join(path, "loop"));
  fs.symlinkSync("nowhere", join(path, "broken"));
  expect([...openDirectory(path).keys.keys()]).toEqual(["link", "real"]);
});

test("what cannot be read or written is named", () => {
  const path = scratch();
  fs.writeFileSync(join(path, "w"), "123");
  const store = openDirectory(path);
  fs.truncateSync(join(path, "w"), 1);
  expect(failure(() => store.read("w"))).toMatchObject({
    code: "file-truncated",
    message: expect.stringContaining(join(path, "w")),
  });
  fs.truncateSync(join(path, "w"), 2 ** 43);
  expect(failure(() => openDirectory(path).read("w"))).toMatchObject({ code: "value-too-large" });
  expect(failure(() => store.read("v"))).toMatchObject({ code: "file-missing" });
  expect(failure(() => openDirectory(join(path, "none")))).toMatchObject({ code: "file-missing" });
  expect(failure(() => createDirectory(path).put("w/c", []))).toMatchObject({
    code: "file-unwritable",
    message: expect.stringContaining(join(path, "w", "c")),
  });
});
