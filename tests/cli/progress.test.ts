import { expect, test } from "@jest/globals";
import { showProgress } from "../../cli/progress.ts";
import { recordingIo } from "./support.ts";

test("on a terminal one line is rewritten, ten times a second at most, and goes away at the end", () => {
  const { io, err, statuses } = recordingIo({ isTerminal: true, columns: 40 });
  let time = 0;
  const report = showProgress(io, { label: "reading", elsewhere: "lines", now: () => time });
  for (let done = 0; done <= 10; done++) {
    report(done, 10, "embed");
    time += 50;
  }
  expect(err).toEqual([]);
  expect(statuses).toEqual([
    "reading  0/10  embed",
    "reading  2/10  1 s left  embed",
    "reading  4/10  1 s left  embed",
    "reading  6/10  1 s left  embed",
    "reading  8/10  1 s left  embed",
    "",
  ]);
});

test("the line never fills the terminal, and long waits are told in larger units", () => {
  const { io, statuses } = recordingIo({ isTerminal: true, columns: 30 });
  let time = 0;
  const report = showProgress(io, { label: "steps", elsewhere: "quiet", now: () => time });
  for (time of [100_000, 10_000_000]) report(1, 11, "x".repeat(50));
  expect(statuses).toEqual(["steps  1/11  17 min left  xxx", "steps  1/11  28 h left  xxxxx"]);
  expect(Math.max(...statuses.map((line) => line.length))).toBe(29);
});

test("off a terminal there are whole lines or nothing", () => {
  const lines = recordingIo();
  const report = showProgress(lines.io, { label: "reading", elsewhere: "lines", now: () => 0 });
  report(1, 2, "a");
  report(2, 2);
  expect([lines.err, lines.statuses]).toEqual([["reading 1/2  0 s left  a", "reading 2/2"], []]);
  const quiet = recordingIo();
  showProgress(quiet.io, { label: "reading", elsewhere: "quiet" })(1, 2);
  expect([quiet.err, quiet.statuses]).toEqual([[], []]);
});

test("bytes are shown in their unit with the rate", () => {
  const { io, statuses } = recordingIo({ isTerminal: true });
  let time = 0;
  const report = showProgress(io, { label: "writing", elsewhere: "quiet", unit: "bytes", now: () => time });
  report(0, 6e9);
  time = 2000;
  report(1.5e9, 6e9);
  report(6e9, 6e9);
  expect(statuses).toEqual(["writing 0.00/6.00 GB", "writing 1.50/6.00 GB  750 MB/s  6 s left", ""]);
});
