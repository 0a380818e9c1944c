// What a call throws: the printed diagnostics of the user's error, with its place checked to lie in the text.
import { Q3Error } from "../../compiler/diag.ts";

/** The Q3Error a call ends with, or nothing when it returns; any other exception is passed on. */
export function problemOf(run: () => unknown): Q3Error | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof Q3Error) return error;
    throw error;
  }
  return undefined;
}

/** Whether every diagnostic points at a place inside the text. */
export const isPlaced = ({ diagnostics }: Q3Error, text: string): boolean =>
  diagnostics.every(
    ({ at }) =>
      at !== undefined &&
      "source" in at &&
      at.source.text === text &&
      at.start >= 0 &&
      at.start <= text.length &&
      at.end > at.start,
  );
