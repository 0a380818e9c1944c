// What `q3c compile --emit=remat` prints.
import { type PolicyRow, share } from "../passes/remat.ts";
import { numberTable } from "./layout.ts";

/** What each policy keeps and computes again: a table per kind of block. */
export function rematTable(rows: readonly PolicyRow[]): string {
  const kinds = rows[0]?.blocks ?? [];
  const header = ["policy", "device MiB", "host MiB", "extra GFLOPs", "of forward"];
  const tables = kinds.map(({ times, flops }, kind) => {
    const lines = rows.map(({ policy, blocks }) => {
      const { deviceBytes = 0, hostBytes = 0, extraFlops = 0 } = blocks[kind] ?? {};
      const numbers = [deviceBytes / 2 ** 20, hostBytes / 2 ** 20, extraFlops / 1e9].map((n) => n.toFixed(1));
      return [policy, ...numbers, share(extraFlops, flops)];
    });
    return [
      `${times} × block of ${(flops / 1e9).toFixed(1)} GFLOPs forward`,
      ...numberTable([header, ...lines]),
    ].join("\n");
  });
  return `${tables.join("\n\n")}\n`;
}
