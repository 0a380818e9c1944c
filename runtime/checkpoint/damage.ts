// Damage to a part of a checkpoint. Who works with the checkpoint is refused at the first; who asks whether it is whole
// hears of all, and reads the rest.
import { type Diagnostic, formatDiagnostic, Q3Error } from "../../compiler/diag.ts";

/**
 * Hears of damage. When it returns, what is not damaged is read. `lost` are names of what cannot be read because of it,
 * where the error itself does not say.
 */
export type OnDamage = (error: Q3Error, lost?: readonly string[]) => void;

/** For who needs all of it. */
export const refuse: OnDamage = (error) => {
  throw error;
};

/** What `read` gives; nothing where it failed and that was heard of. */
export function attempt<T>(onDamage: OnDamage, read: () => T, lost?: readonly string[]): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Q3Error)) throw error;
    onDamage(error, lost);
    return undefined;
  }
}

// Of more names the rest are counted.
const SHOWN_NAMES = 100;

/** A problem that also says what cannot be read because of it. */
export function losing(problem: Diagnostic, lost: Iterable<string>): Diagnostic {
  const names = [...lost];
  if (names.length === 0) return problem;
  const shown = names.slice(0, SHOWN_NAMES).join(", ");
  const more = names.length > SHOWN_NAMES ? ` and ${names.length - SHOWN_NAMES} more` : "";
  return { ...problem, message: `${problem.message}; cannot be read without it: ${shown}${more}` };
}

/** All damage that was heard of. */
export type Damage = {
  readonly note: OnDamage;
  /** Each problem once, however often it was met. */
  problems(): readonly Diagnostic[];
};

// So many problems are held. A hostile file may have one in every few bytes.
const HELD = 10_000;

/** Collects damage. */
export function collectDamage(): Damage {
  const found = new Map<string, { readonly problem: Diagnostic; readonly lost: Set<string> }>();
  let more = 0;
  return {
    note(error, lost = []) {
      for (const problem of error.diagnostics) {
        const key = formatDiagnostic(problem);
        const known = found.get(key);
        const entry = known ?? { problem, lost: new Set() };
        for (const name of lost) entry.lost.add(name);
        if (known) continue;
        if (found.size < HELD) found.set(key, entry);
        else more++;
      }
    },
    problems() {
      const held = Array.from(found.values(), ({ problem, lost }) => losing(problem, lost));
      if (more === 0) return held;
      return [...held, { code: "checkpoint-damaged", message: `${more} more problems were found` }];
    },
  };
}
