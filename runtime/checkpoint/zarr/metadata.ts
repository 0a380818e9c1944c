// What the metadata of a zarr array says, whichever version wrote it, and the checks both versions need.
import { fail } from "../../../compiler/diag.ts";
import { parseRecord, showJson } from "../../../compiler/json.ts";
import { decodeUtf8 } from "../../utf8.ts";
import { gridOf } from "../box.ts";
import { placeOf, type Site } from "./codecs.ts";
import type { Layout } from "./layout.ts";

/** An array: its elements on a regular grid of chunks. */
export type ArrayMetadata = {
  readonly shape: readonly number[];
  /** The shape of every chunk; at the border it reaches beyond the array. */
  readonly chunk: readonly number[];
  readonly layout: Layout;
  /** One element for those whose chunk was never written. */
  readonly fill: Uint8Array;
  /** The key of a chunk, under the array's own. */
  keyOf(index: readonly number[]): string;
};

/** The JSON object of a metadata file; repeated keys are refused, because readers differ in which they take. */
export const parseObject = (site: Site, bytes: Uint8Array): Readonly<Record<string, unknown>> =>
  parseRecord(decodeUtf8(placeOf(site), bytes), (problem) => failMetadata(site, problem));

/** What malformed metadata fails with. */
export const failMetadata = (site: Site, message: string): never =>
  fail({ code: "zarr-metadata", message, at: placeOf(site) });

/** What metadata fails with that is well-formed, but asks for what q3c does not do. */
export const failUnsupported = (site: Site, message: string): never =>
  fail({ code: "zarr-unsupported", message, at: placeOf(site) });

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

/** The shape of the array and of its chunks, of the same rank and countable. */
export function parseShapes(
  site: Site,
  shape: unknown,
  chunk: unknown,
): { readonly shape: readonly number[]; readonly chunk: readonly number[] } {
  if (!Array.isArray(shape) || !shape.every(isSize))
    return failMetadata(site, `expected a shape of whole numbers, found ${showJson(shape)}`);
  const chunks = parseChunk(site, chunk, shape.length);
  // Offsets are computed in doubles: everything that is counted must be exact there.
  const product = (sizes: readonly number[]): number => sizes.reduce((n, size) => n * Math.max(1, size), 16);
  if (![shape, chunks, gridOf(shape, chunks)].every((sizes) => Number.isSafeInteger(product(sizes))))
    failMetadata(
      site,
      `shape ${showJson(shape)} in chunks ${showJson(chunks)} has more elements than can be counted`,
    );
  return { shape, chunk: chunks };
}

/** The shape of chunks of an array of this rank. */
export function parseChunk(site: Site, chunk: unknown, rank: number): readonly number[] {
  if (!Array.isArray(chunk) || chunk.length !== rank || !chunk.every((n) => isSize(n) && n > 0))
    return failMetadata(site, `expected chunks of ${rank} whole numbers above 0, found ${showJson(chunk)}`);
  return chunk;
}
