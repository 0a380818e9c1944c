// Safetensors files written byte by byte, without the writer under test.

import * as fs from "node:fs";
import { join } from "node:path";
import { Q3Error } from "../../compiler/diag.ts";
import { scratch } from "../support/scratch.ts";

/** The bytes of a file with this header, given as JSON text or as a value, and this data. */
export function container(header: unknown, data: Uint8Array = new Uint8Array()): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}

/** Writes bytes to a fresh file and returns its path. */
export function fileOf(bytes: Uint8Array | string, name = "model.safetensors"): string {
  const path = join(scratch(), name);
  fs.writeFileSync(path, bytes);
  return path;
}

/** The code of the one diagnostic that `run` fails with, and the message, for a claim about both. */
export function failure(run: () => unknown): { code: string; message: string } {
  try {
    run();
  } catch (error) {
    if (!(error instanceof Q3Error)) throw error;
    return { code: error.diagnostics[0]!.code, message: error.message };
  }
  throw new Error("expected an error, and there was none");
}
