// Text for a terminal, which obeys some characters instead of showing them.

// C0 but for tab and line feed, delete, and C1: among them what starts an escape sequence.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const OBEYED = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;

/** The text with every character that a terminal would obey spelled out, as `\x1b`. */
export const shownText = (text: string): string =>
  text.replace(OBEYED, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
