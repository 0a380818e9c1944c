// Who is at work in a directory: a process, not its id.
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { expect, test } from "@jest/globals";
import { isRunning, ownMark } from "../runtime/running.ts";

const hasProc = fs.existsSync("/proc/self/stat");

test("this process runs, by its mark and without one; an id that nobody has does not", async () => {
  expect([isRunning(process.pid), isRunning(process.pid, ownMark())]).toEqual([true, true]);
  const child = spawn(process.execPath, ["--version"], { stdio: "ignore" });
  await once(child, "exit");
  expect(isRunning(child.pid ?? 0)).toBe(false);
});

(hasProc ? test : test.skip)("another process that was given the id is not the one that left a mark", () => {
  expect(ownMark()).toMatch(/^\d+$/);
  expect(isRunning(process.ppid)).toBe(true);
  expect(isRunning(process.ppid, "1")).toBe(false);
});

(hasProc ? test : test.skip)(
  "one that was killed, but whose parent has not asked after it, has ended",
  async () => {
    // The shell becomes a program that knows nothing of the child that it had.
    const child = spawn("sh", ["-c", "sleep 0 & echo $!; exec sleep 20"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const [printed] = await once(child.stdout, "data");
    const pid = Number(String(printed));
    const isZombie = () => /\) Z /.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"));
    while (!isZombie()) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(isRunning(pid)).toBe(false);
    child.kill("SIGKILL");
    await once(child, "exit");
  },
);
