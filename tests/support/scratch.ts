// Directories for what a test writes.
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "@jest/globals";

const made: string[] = [];
afterAll(() => {
  for (const directory of made) fs.rmSync(directory, { recursive: true, force: true });
});

/** A fresh directory, removed when the test file is done. */
export function scratch(): string {
  const directory = fs.mkdtempSync(join(tmpdir(), "q3c-test-"));
  made.push(directory);
  return directory;
}
