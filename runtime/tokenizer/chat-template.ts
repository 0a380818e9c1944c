// Conversations as the text a model was trained to continue: templates in Jinja, as Hugging Face tokenizers bring them.
import { extname, resolve } from "node:path";
import { Template } from "@huggingface/jinja";
import { fail } from "../../compiler/diag.ts";
import { isRecord, parseJson } from "../../compiler/json.ts";
import { readText, reason } from "../files.ts";
import type { Tokenizer } from "./tokenizer.ts";

export type Message = { readonly role: string; readonly content: string };

export type ChatTemplate = {
  /** The text of a conversation up to where the assistant's next turn begins. */
  render(messages: readonly Message[]): string;
};

/** A template that takes the tokenizer's place: its text, or a file that holds it (as it is, or in JSON). */
export type OtherTemplate = { readonly text: string; readonly path: string; readonly cwd: string };

/** Opens the template that is given, else the tokenizer's own. */
export function openChatTemplate(tokenizer: Tokenizer, other: OtherTemplate): ChatTemplate {
  const { text, from } = sourceOf(tokenizer, other);
  const template = understood(from, () => new Template(text));
  return {
    render: (messages) =>
      understood(from, () =>
        template.render({ ...tokenizer.specials, messages, add_generation_prompt: true }),
      ),
  };
}

type Source = { readonly text: string; readonly from: string };

function sourceOf(tokenizer: Tokenizer, { text, path, cwd }: OtherTemplate): Source {
  if (text !== "") return { text, from: "chat_template" };
  if (path !== "") return readTemplate(resolve(cwd, path));
  return (
    tokenizer.chatTemplate ??
    fail(
      {
        code: "chat-template",
        message: `the ${tokenizer.kind} tokenizer has no chat template`,
        help: "set chat_template_path to a file with one, or use_chat_template=false",
      },
      2,
    )
  );
}

function readTemplate(file: string): Source {
  const text = readText(file);
  if (extname(file) !== ".json") return { text, from: file };
  const fields = parseJson({ file, text });
  const own = isRecord(fields) ? fields["chat_template"] : undefined;
  if (typeof own === "string") return { text: own, from: file };
  return fail(
    { code: "chat-template", message: "expected chat_template, a text; found none", at: { file } },
    2,
  );
}

// The library throws on what it cannot read or render, and so do templates themselves (raise_exception).
function understood<R>(from: string, run: () => R): R {
  try {
    return run();
  } catch (error) {
    return fail({ code: "chat-template", message: reason(error), at: { file: from } });
  }
}
