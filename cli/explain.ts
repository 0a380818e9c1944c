// `q3c explain`: what a configuration key, a computed value, a topic, an op or a pass is.
import { fail } from "../compiler/diag.ts";
import { type Call, command, type Io } from "./command.ts";
import { readConfig } from "./config.ts";
import { wrap } from "./layout.ts";

async function list(json: boolean, { out, columns }: Io): Promise<number> {
  const { headings, wordsJson } = await import("./subjects.ts");
  if (json) out(JSON.stringify(wordsJson));
  else
    for (const { title, words } of headings) {
      out(`${title}:`);
      for (const line of wrap(words.join(" "), columns - 2)) out(`  ${line}`);
      out("");
    }
  return 0;
}

async function explainOne(word: string, args: readonly string[], { flags, io }: Call<typeof noFlags>) {
  const { subjectsOf, takesConfig } = await import("./subjects.ts");
  const hasConfig = args.length > 0 && takesConfig(word);
  const subjects = subjectsOf(word, hasConfig ? await readConfig(args, io) : undefined);
  if (args.length > 0 && !hasConfig)
    fail(
      {
        code: "no-value",
        message: `\`${word}\` has no value in a configuration`,
        help: `say \`q3c explain ${word}\``,
      },
      2,
    );
  if (flags.json) {
    io.out(JSON.stringify({ word, subjects: subjects.map(({ json }) => json) }));
    return 0;
  }
  for (const [i, { lines }] of subjects.entries()) {
    if (i > 0) io.out("");
    for (const line of lines.flatMap((one) => wrap(one, io.columns))) io.out(line);
  }
  return 0;
}

const noFlags = {};

/** The command that explains words. */
export const explain = command({
  name: "explain",
  summary: "Say what a configuration key, a computed value, a topic, an op or a pass is.",
  usage: "explain [word] [config.yml] [key=value …]",
  details: [
    "With configuration arguments after a key, computed value or topic, also says its value in that configuration and where that value comes from. Without a word, lists all words.",
  ],
  examples: [
    "q3c explain speculative-decoding",
    "q3c explain base_emb_dim base model_name=qwen3-next-80b-a3b",
  ],
  flags: noFlags,
  async run(call) {
    const [word, ...args] = call.args;
    return word === undefined ? list(call.flags.json, call.io) : explainOne(word, args, call);
  },
});
