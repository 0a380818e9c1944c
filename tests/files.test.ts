// Errors of files say what is wrong with them.
import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { failWrite } from "../runtime/files.ts";
import { scratch } from "./support/scratch.ts";

test("a folder is said to be missing only where it is", () => {
  const directory = scratch();
  // What mkdir says of a read-only file system when it makes folders above as well.
  const missing = Object.assign(new Error("ENOENT: no such file or directory, mkdir"), { code: "ENOENT" });
  const said = (path: string) => () => failWrite(path, missing);
  expect(said(join(directory, "a"))).toThrow("cannot be written: ENOENT: no such file");
  expect(said(join(directory, "a/b"))).toThrow(`there is no folder ${join(directory, "a")}`);
  const closed = join(directory, "closed");
  fs.mkdirSync(closed, { mode: 0o500 });
  // Root may write anywhere.
  const why = process.getuid?.() === 0 ? /there is no folder/ : /cannot be written: EACCES: /;
  expect(said(join(closed, "a/b"))).toThrow(why);
});
