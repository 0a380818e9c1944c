// What tests of passes need besides tests/support.
import type { Module } from "../../compiler/ir/types.ts";

/** A module no pass can change: a write throws. Op records and places in source texts are everybody's and stay. */
export function frozen(module: Module): Module {
  const freeze = (x: unknown): void => {
    if (typeof x !== "object" || x === null || Object.isFrozen(x)) return;
    Object.freeze(x);
    for (const [name, part] of Object.entries(x)) if (name !== "op" && name !== "loc") freeze(part);
  };
  freeze(module);
  return module;
}
