// YAML text to written values with places. JSON is read the same way, being YAML.

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  parseDocument,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import { type Diagnostic, Q3Error, type Source, type Span } from "../diag.ts";
import { type Raw, type RawEntry, rawText } from "./raw.ts";

/** What a YAML text says, and what is wrong with it. */
export type YamlText = { readonly value: Raw | undefined; readonly problems: readonly Diagnostic[] };

type Reading = {
  readonly source: Source;
  readonly base: number;
  readonly templates: boolean;
  readonly document: Document;
  readonly problems: Diagnostic[];
  /** The lists and mappings that the node being read lies in. */
  readonly around: Set<Node>;
  /** How many nodes may still be read: aliases of aliases grow without end. */
  left: number;
};

const mostNodes = 100_000;

function spanOf({ source, base }: Reading, node: Node): Span {
  const [start, end] = node.range ?? [0, 0];
  return { source, start: base + start, end: base + end };
}

function readScalar(reading: Reading, node: Node & { value: unknown; source?: string }): Raw {
  const at = spanOf(reading, node);
  const { value } = node;
  if (typeof value === "string" && reading.templates) {
    try {
      return rawText(value, reading.source, at.start, at.end);
    } catch (error) {
      if (!(error instanceof Q3Error)) throw error;
      reading.problems.push(...error.diagnostics);
    }
  }
  const plain = typeof value === "number" || typeof value === "boolean" || typeof value === "string";
  const text = typeof value === "string" ? value : (node.source ?? "");
  return { kind: "constant", value: plain ? value : null, text, at };
}

function readMap(reading: Reading, node: YAMLMap): Raw {
  const entries = new Map<string, RawEntry>();
  for (const { key, value } of node.items) {
    const keyNode = key as Node;
    const nameAt = spanOf(reading, keyNode);
    const name = isScalar(keyNode) ? String(keyNode.value) : "";
    const before = entries.get(name);
    if (!isScalar(keyNode)) {
      reading.problems.push({ code: "yaml-syntax", message: "a key is one word", at: nameAt });
    } else if (before) {
      const notes = [{ message: "it was set here already", at: before.nameAt }];
      reading.problems.push({
        code: "duplicate-key",
        message: `\`${name}\` is set twice`,
        at: nameAt,
        notes,
      });
    }
    const raw: Raw =
      value === null
        ? { kind: "constant", value: null, text: "", at: { ...nameAt, start: nameAt.end } }
        : readNode(reading, value as Node);
    entries.set(name, { name, nameAt, value: raw });
  }
  return { kind: "mapping", entries: [...entries.values()], at: spanOf(reading, node) };
}

function readCollection(reading: Reading, node: YAMLMap | YAMLSeq): Raw {
  reading.around.add(node);
  try {
    if (isMap(node)) return readMap(reading, node);
    const items = node.items.map((item) => readNode(reading, item as Node));
    return { kind: "list", items, at: spanOf(reading, node) };
  } finally {
    reading.around.delete(node);
  }
}

function readAlias(reading: Reading, node: Node): Raw {
  const target = isAlias(node) ? node.resolve(reading.document) : undefined;
  const at = spanOf(reading, node);
  const message = !target
    ? "no anchor of this name stands before"
    : reading.around.has(target)
      ? "what this repeats contains it"
      : reading.left < 0
        ? `what is repeated here makes more than ${mostNodes} values`
        : undefined;
  if (target && message === undefined) return readNode(reading, target);
  if (message !== undefined) reading.problems.push({ code: "yaml-syntax", message, at });
  return { kind: "constant", value: null, text: "", at };
}

function readNode(reading: Reading, node: Node): Raw {
  reading.left--;
  if (isMap(node) || isSeq(node)) return readCollection(reading, node);
  return isScalar(node) ? readScalar(reading, node) : readAlias(reading, node);
}

function syntaxProblem(
  source: Source,
  base: number,
  message: string,
  [start, end]: [number, number],
): Diagnostic {
  const line = source.text.slice(source.text.lastIndexOf("\n", base + start - 1) + 1).split("\n", 1)[0] ?? "";
  return {
    code: "yaml-syntax",
    message: message.charAt(0).toLowerCase() + message.slice(1),
    at: { source, start: base + start, end: base + end },
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the sign spoken of.
    help: line.includes("${") ? 'within [ ] or { } an expression needs quotes: "${…}"' : undefined,
  };
}

/** Options of reading YAML: the part of the source to read, and whether `${…}` is an expression. */
export type YamlOptions = { readonly start?: number; readonly end?: number; readonly templates?: boolean };

/** Reads the YAML between two offsets of a source, keeping the place of everything. */
export function readYaml(source: Source, options: YamlOptions = {}): YamlText {
  const { start = 0, end = source.text.length, templates = true } = options;
  const document = parseDocument(source.text.slice(start, end), {
    prettyErrors: false,
    uniqueKeys: false,
    logLevel: "silent",
  });
  const reading: Reading = {
    source,
    base: start,
    templates,
    document,
    problems: [],
    around: new Set(),
    left: mostNodes,
  };
  const broken = document.errors.map((error) => syntaxProblem(source, start, error.message, error.pos));
  if (broken.length > 0) return { value: undefined, problems: broken.slice(0, 1) };
  const value = document.contents ? readNode(reading, document.contents) : undefined;
  // Of aliases beyond measure the first says it all.
  if (reading.left < 0 && reading.problems.length > 0)
    return { value: undefined, problems: reading.problems.slice(0, 1) };
  return { value, problems: reading.problems };
}
