// `.zarray`, the metadata of a zarr v2 array. Specification: zarr.dev, storage specification version 2.
import { isRecord, showJson } from "../../../compiler/json.ts";
import type { StoredTensor } from "../tensors.ts";
import { type BytesCodec, gzip, type Site, zlib, zstd } from "./codecs.ts";
import { elementV2, nameV2 } from "./element.ts";
import { parseFill } from "./fill.ts";
import { type ArrayMetadata, failMetadata, failUnsupported, parseObject, parseShapes } from "./metadata.ts";

/** The key of an array's metadata, under the array's own. */
export const METADATA_V2 = ".zarray";

const COMPRESSORS: Readonly<Record<string, BytesCodec>> = { zstd, gzip, zlib };

/** Reads `.zarray`. */
export function parseV2(site: Site, bytes: Uint8Array): ArrayMetadata {
  const fields = parseObject(site, bytes);
  const { zarr_format: format, dtype, filters, order, dimension_separator: separator = "." } = fields;
  if (format !== 2) failMetadata(site, `expected zarr_format 2, found ${showJson(format)}`);
  const { shape, chunk } = parseShapes(site, fields["shape"], fields["chunks"]);
  const element = typeof dtype === "string" ? elementV2(dtype) : undefined;
  if (!element) return failUnsupported(site, `q3c does not read elements of type ${showJson(dtype)}`);
  if (!(filters === null || filters === undefined || (Array.isArray(filters) && filters.length === 0)))
    failUnsupported(site, `q3c does not read filters, found ${showJson(filters)}`);
  if (order !== "C" && order !== "F")
    failMetadata(site, `expected order "C" or "F", found ${showJson(order)}`);
  if (separator !== "." && separator !== "/")
    failMetadata(site, `expected dimension_separator "." or "/", found ${showJson(separator)}`);
  const isReversed = order === "F" && shape.length > 1;
  return {
    shape,
    chunk,
    layout: {
      element,
      ...(isReversed ? { order: shape.map((_, axis) => shape.length - 1 - axis) } : {}),
      bytes: parseCompressor(site, fields["compressor"]),
    },
    fill: parseFill(site, element, fields["fill_value"]),
    keyOf: (index) => (index.length === 0 ? "0" : index.join(separator === "/" ? "/" : ".")),
  };
}

function parseCompressor(site: Site, compressor: unknown): readonly BytesCodec[] {
  if (compressor === null) return [];
  const id = isRecord(compressor) ? compressor["id"] : undefined;
  const codec = typeof id === "string" && Object.hasOwn(COMPRESSORS, id) ? COMPRESSORS[id] : undefined;
  if (codec) return [codec];
  if (typeof id !== "string")
    failMetadata(site, `expected a compressor or null, found ${showJson(compressor)}`);
  return failUnsupported(
    site,
    `q3c does not read chunks compressed by ${showJson(id)}, only by ${Object.keys(COMPRESSORS).join(", ")}`,
  );
}

/** Metadata for an array that q3c writes: row-major, chunks wrapped in gzip, whose check sum finds damage. */
export const printV2 = ({ shape, dtype }: StoredTensor, chunk: readonly number[]): string =>
  JSON.stringify({
    zarr_format: 2,
    shape,
    chunks: chunk,
    dtype: nameV2(dtype),
    compressor: { id: gzip.name, level: 0 },
    filters: null,
    fill_value: null,
    order: "C",
    dimension_separator: ".",
  });
