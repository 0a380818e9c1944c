import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { type Checkup, checkUp } from "../../runtime/doctor.ts";
import { scratch } from "../support/scratch.ts";
import { q3c } from "./support.ts";

const finding = ({ findings }: Checkup, what: string) => findings.find((one) => one.what === what);

test("this machine runs q3c on wasm, and each finding says what it means", async () => {
  const { code, out, err } = await q3c(["doctor", "--json"]);
  expect([code, err]).toEqual([0, ""]);
  const checkup = JSON.parse(out) as Checkup;
  expect(checkup).toMatchObject({ engine: "tfjs-wasm", canRun: true });
  expect(finding(checkup, "tfjs-wasm")?.found).toMatch(
    /^starts, a 64×64 product is right; SIMD (yes|no), threads (yes|no)$/,
  );
  expect(finding(checkup, "tfjs-cpu")?.verdict).toBe("ok");
  for (const { found, meaning } of checkup.findings) expect([found, meaning]).not.toContain("");
});

test("as text there is a line for each finding and one that sums up", async () => {
  const { code, out } = await q3c(["doctor"], { io: { columns: 1000 } });
  const lines = out.split("\n");
  expect(code).toBe(0);
  expect(lines.map((line) => line.split(/ {2,}/)[1])).toEqual(
    expect.arrayContaining([
      "q3c",
      "node",
      "platform",
      "cpu",
      "memory",
      "tfjs-wasm",
      "tfjs-cpu",
      "C compiler",
    ]),
  );
  expect(lines.at(-1)).toBe("q3c runs here, on tfjs-wasm.");
});

test("an old Node is what keeps q3c from running", async () => {
  const checkup = await checkUp({ version: "0", nodeVersion: "18.20.1", env: {} });
  expect(checkup.canRun).toBe(false);
  expect(finding(checkup, "node")).toEqual({
    what: "node",
    verdict: "bad",
    found: "18.20.1",
    meaning: "too old: q3c needs Node 20 or newer",
  });
});

test("compilers are found on PATH, and only programs count", async () => {
  const folder = scratch();
  writeFileSync(join(folder, "clang"), "", { mode: 0o755 });
  writeFileSync(join(folder, "gcc"), "", { mode: 0o644 });
  const at = { version: "0", nodeVersion: "20.0.0" };
  expect(finding(await checkUp({ ...at, env: { PATH: folder } }), "C compiler")?.found).toBe("clang");
  expect(finding(await checkUp({ ...at, env: {} }), "C compiler")?.found).toBe("none on PATH");
});

test("doctor takes no arguments", async () => {
  expect(await q3c(["doctor", "me"])).toMatchObject({
    code: 2,
    err: "unexpected-argument: doctor takes no arguments, found `me`",
  });
});
