// `q3c doctor`: what this machine offers, and whether q3c can run on it.
import { fail } from "../compiler/diag.ts";
import { command } from "./command.ts";
import { table } from "./layout.ts";
import { version } from "./package.ts";

/** The command that examines this machine. */
export const doctor = command({
  name: "doctor",
  summary: "Say what this machine offers q3c, and whether q3c can run on it.",
  usage: "doctor",
  details: [
    "Starts each engine and checks a matrix product on it. Ends with 0 if q3c can train and compare logits here, with 1 if it cannot.",
  ],
  flags: {},
  async run({ args, flags, io }) {
    const [extra] = args;
    if (extra !== undefined)
      fail({ code: "unexpected-argument", message: `doctor takes no arguments, found \`${extra}\`` }, 2);
    const { checkUp } = await import("../runtime/doctor.ts");
    const checkup = await checkUp({ version, nodeVersion: process.versions.node, env: io.env });
    const { findings, engine, canRun } = checkup;
    if (flags.json) io.out(JSON.stringify(checkup));
    else {
      const rows = findings.map(({ what, verdict, found, meaning }) => [
        verdict,
        what,
        `${found} — ${meaning}`,
      ]);
      for (const line of table(rows, io.columns, "")) io.out(line);
      io.out(canRun ? `q3c runs here, on ${engine}.` : "q3c cannot run here; see the lines that are not ok.");
    }
    return canRun ? 0 : 1;
  },
});
