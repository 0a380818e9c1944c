// The machine a graph is planned for, and the sizes of the mesh's axes on it.

import { didYouMean } from "../diag.ts";

// Sizes in a topology's name: TensorCores for v4, v5p and tpu7x, chips for v5e and v6e.
const small = [1, 4, 8, 16, 32, 64, 128, 256];
const cubes = (cores: number): boolean =>
  [8, 16, 32, 64].includes(cores) || (cores >= 128 && cores % 128 === 0 && cores <= 18_432);

const families: Record<string, { readonly coresPerDevice: number; exists(size: number): boolean }> = {
  v4: { coresPerDevice: 2, exists: (size) => size <= 4096 && cubes(size) },
  v5p: { coresPerDevice: 2, exists: cubes },
  v5e: { coresPerDevice: 1, exists: (size) => small.includes(size) },
  v6e: { coresPerDevice: 1, exists: (size) => small.includes(size) },
  tpu7x: { coresPerDevice: 1, exists: (size) => size === 2 || cubes(size) },
};

/** How many devices a slice of a named TPU has, or why there is no such slice. */
export function devicesOfTopology(
  name: string,
): number | { readonly problem: string; readonly help?: string | undefined } {
  const [, prefix = name, digits = ""] = /^(.*)-(\d+)$/.exec(name) ?? [];
  const family = Object.hasOwn(families, prefix) ? families[prefix] : undefined;
  if (!family) {
    const known = Object.keys(families);
    const help = didYouMean(
      name,
      known.map((one) => `${one}-${digits || "8"}`),
    );
    return {
      problem: `there is no topology \`${name}\`; the topologies are ${known.map((one) => `${one}-N`).join(", ")}`,
      help,
    };
  }
  const size = Number(digits);
  if (!family.exists(size))
    return {
      problem: `there is no slice \`${name}\`: no such ${prefix} has ${size} ${family.coresPerDevice === 2 || prefix === "tpu7x" ? "cores" : "chips"}`,
    };
  return size / family.coresPerDevice;
}

/** Axis sizes with at most one -1 made to fit, or why they cannot fit. */
export function fillAxes(
  sizes: readonly number[],
  devices: number,
): readonly number[] | { readonly problem: string } {
  const open = sizes.filter((size) => size === -1).length;
  if (open > 1) return { problem: `${open} sizes are -1, at most one can be` };
  const fixed = sizes.reduce((product, size) => (size === -1 ? product : product * size), 1);
  const filled = sizes.map((size) => (size === -1 ? devices / fixed : size));
  if (open === 1 ? devices % fixed === 0 : fixed === devices) return filled;
  return {
    problem: `the sizes multiply to ${fixed}, expected ${open ? "a divisor of" : "exactly"} ${devices}`,
  };
}
