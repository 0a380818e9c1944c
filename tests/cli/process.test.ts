// What only a process shows: streams that close, signals, exit codes, and being started through a link.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";

// Inside the package, because q3c looks for the package it is in; unseen by version control.
const folder = join(process.cwd(), "node_modules", ".cache", `q3c-process-test-${process.pid}`);
const program = join(folder, "cli", "main.js");
const waiting = join(folder, "cli", "waiting.js");
const serving = join(folder, "cli", "serving.js");
const talking = join(folder, "cli", "talking.js");

beforeAll(() => {
  mkdirSync(folder, { recursive: true });
  spawnSync(process.execPath, [
    join("node_modules", "typescript", "bin", "tsc"),
    "-p",
    "tsconfig.build.json",
    "--outDir",
    folder,
  ]);
  const start = 'import { startProcess } from "./process.js";\n';
  writeFileSync(
    waiting,
    `${start}await startProcess(async (_, io) => (io.out("ready"), await new Promise((done) => setTimeout(done, 60000)), 0));`,
  );
  writeFileSync(
    serving,
    `${start}await startProcess(async (_, io) => { const timer = setInterval(() => {}, 1000); const stopped = io.untilStopped(); io.out("ready"); await stopped; io.out("stopped"); await new Promise((done) => setTimeout(done, 300)); clearInterval(timer); return 0; });`,
  );
  writeFileSync(
    talking,
    `${start}await startProcess(async (_, io) => { for (;;) { io.out("word"); await new Promise(setImmediate); } });`,
  );
});

afterAll(() => rmSync(folder, { recursive: true }));

const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => child.on("exit", (code) => resolve(code)));

test("q3c starts through a link, fast, and gives exit codes", () => {
  const link = join(folder, "q3c");
  symlinkSync(program, link);
  const version = spawnSync(process.execPath, [link, "--version"], { encoding: "utf8" });
  expect([version.status, version.stdout, version.stderr]).toEqual([
    0,
    expect.stringMatching(/^q3c \S+\n$/),
    "",
  ]);
  const wrong = spawnSync(process.execPath, [program, "docter"], { encoding: "utf8" });
  expect([wrong.status, wrong.stdout, wrong.stderr]).toEqual([
    2,
    "",
    expect.stringMatching(/^unknown-command: /),
  ]);
});

test("Ctrl-C ends with 130 and one word", async () => {
  const child = spawn(process.execPath, [waiting]);
  let err = "";
  child.stderr.on("data", (data) => {
    err += data;
  });
  child.stdout.once("data", () => child.kill("SIGINT"));
  expect([await ended(child), err]).toEqual([130, "interrupted\n"]);
});

test.each(["SIGINT", "SIGTERM"] as const)(
  "%s ends a command that waits for it as it likes, and twice at once",
  async (signal) => {
    const child = spawn(process.execPath, [serving]);
    child.stdout.once("data", () => child.kill(signal));
    expect(await ended(child)).toBe(0);
    const other = spawn(process.execPath, [serving]);
    other.stdout.on("data", () => other.kill(signal));
    expect(await ended(other)).not.toBe(0);
  },
);

test("a reader that goes away ends q3c without a word", async () => {
  const child = spawn(process.execPath, [talking]);
  let err = "";
  child.stderr.on("data", (data) => {
    err += data;
  });
  child.stdout.once("data", () => child.stdout.destroy());
  expect([await ended(child), err]).toEqual([141, ""]);
});
