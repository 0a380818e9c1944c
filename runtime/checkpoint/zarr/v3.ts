// `zarr.json`, the metadata of a zarr v3 array. Specification: zarr-specs.readthedocs.io, core protocol version 3.
import { isRecord, showJson } from "../../../compiler/json.ts";
import { bitsOf } from "../safetensors-header.ts";
import type { StoredTensor } from "../tensors.ts";
import { type BytesCodec, checksum32c, gzip, type Site, zstd } from "./codecs.ts";
import { type Element, elementV3, nameV3 } from "./element.ts";
import { parseFill } from "./fill.ts";
import type { Layout, Sharding } from "./layout.ts";
import {
  type ArrayMetadata,
  failMetadata,
  failUnsupported,
  parseChunk,
  parseObject,
  parseShapes,
} from "./metadata.ts";

/** The key of an array's metadata, under the array's own. */
export const METADATA_V3 = "zarr.json";

const KNOWN_FIELDS = new Set([
  "zarr_format",
  "node_type",
  "shape",
  "data_type",
  "chunk_grid",
  "chunk_key_encoding",
  "fill_value",
  "codecs",
  "attributes",
  "dimension_names",
  "storage_transformers",
]);

/** A named extension point of the specification: codecs, grids, key encodings. */
type Named = { readonly name: string; readonly configuration: Readonly<Record<string, unknown>> };

/** Reads `zarr.json`. */
export function parseV3(site: Site, bytes: Uint8Array): ArrayMetadata {
  const fields = parseObject(site, bytes);
  const {
    zarr_format: format,
    node_type: node,
    data_type: type,
    storage_transformers: transformers,
  } = fields;
  if (format !== 3) failMetadata(site, `expected zarr_format 3, found ${showJson(format)}`);
  if (node !== "array") failMetadata(site, `expected node_type "array", found ${showJson(node)}`);
  if (transformers !== undefined && !(Array.isArray(transformers) && transformers.length === 0))
    failUnsupported(site, `q3c does not know storage transformers, found ${showJson(transformers)}`);
  for (const [name, value] of Object.entries(fields))
    if (!KNOWN_FIELDS.has(name) && !(isRecord(value) && value["must_understand"] === false))
      failUnsupported(site, `q3c does not know the field ${showJson(name)}`);
  const grid = parseNamed(site, fields["chunk_grid"], "a chunk grid");
  if (grid.name !== "regular")
    failUnsupported(site, `q3c does not know the chunk grid ${showJson(grid.name)}`);
  const { shape, chunk } = parseShapes(site, fields["shape"], grid.configuration["chunk_shape"]);
  const layout = parseLayout(site, fields["codecs"], type, chunk);
  return {
    shape,
    chunk,
    layout,
    fill: parseFill(site, layout.element, fields["fill_value"]),
    keyOf: parseKeyEncoding(site, fields["chunk_key_encoding"]),
  };
}

function parseNamed(site: Site, value: unknown, what: string): Named {
  if (typeof value === "string") return { name: value, configuration: {} };
  const { name, configuration = {} } = isRecord(value) ? value : {};
  if (typeof name !== "string" || !isRecord(configuration))
    return failMetadata(site, `expected the name and configuration of ${what}, found ${showJson(value)}`);
  return { name, configuration };
}

function parseKeyEncoding(site: Site, value: unknown): ArrayMetadata["keyOf"] {
  const { name, configuration } = parseNamed(site, value, "a chunk key encoding");
  if (name !== "default" && name !== "v2")
    failUnsupported(site, `q3c does not know the chunk key encoding ${showJson(name)}`);
  const { separator = name === "default" ? "/" : "." } = configuration;
  if (separator !== "." && separator !== "/")
    failMetadata(site, `expected a separator "." or "/" of chunk keys, found ${showJson(separator)}`);
  const by = separator === "/" ? "/" : ".";
  if (name === "default") return (index) => ["c", ...index].join(by);
  return (index) => (index.length === 0 ? "0" : index.join(by));
}

/** Codecs in the order of encoding: some that reorder axes, one from elements to bytes, some from bytes to bytes. */
function parseLayout(site: Site, codecs: unknown, type: unknown, chunk: readonly number[]): Layout {
  if (!Array.isArray(codecs))
    return failMetadata(site, `expected a list of codecs, found ${showJson(codecs)}`);
  const named = codecs.map((codec) => parseNamed(site, codec, "a codec"));
  const at = named.findIndex(({ name }) => name !== "transpose");
  const toBytes = named[at];
  if (!toBytes)
    return failMetadata(site, `expected a codec from elements to bytes, found ${showJson(codecs)}`);
  const order = named
    .slice(0, at)
    .reduce<readonly number[] | undefined>(
      (before, codec) => compose(site, before, codec, chunk.length),
      undefined,
    );
  const ordered = order ? order.map((axis) => chunk[axis] ?? 1) : chunk;
  const sharding =
    toBytes.name === "sharding_indexed"
      ? parseSharding(site, toBytes.configuration, type, ordered)
      : undefined;
  return {
    element: sharding?.layout.element ?? parseElement(site, toBytes, type),
    ...(order ? { order } : {}),
    ...(sharding ? { sharding } : {}),
    bytes: named.slice(at + 1).map((codec) => parseBytesCodec(site, codec)),
  };
}

function compose(
  site: Site,
  before: readonly number[] | undefined,
  { configuration: { order } }: Named,
  rank: number,
): readonly number[] {
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  if (!Array.isArray(order) || order.length !== rank || !axes.every((axis) => order.includes(axis)))
    return failMetadata(site, `expected transpose to order ${rank} axes, found ${showJson(order)}`);
  return order.map((axis: number) => (before ?? axes)[axis] ?? 0);
}

function parseElement(site: Site, { name, configuration }: Named, type: unknown): Element {
  if (name !== "bytes") return failUnsupported(site, `q3c does not know the codec ${showJson(name)}`);
  const { endian = "little" } = configuration;
  if (endian !== "little" && endian !== "big")
    return failMetadata(site, `expected endian "little" or "big", found ${showJson(endian)}`);
  const element = typeof type === "string" ? elementV3(type, endian === "big") : undefined;
  return element ?? failUnsupported(site, `q3c does not read elements of type ${showJson(type)}`);
}

const BYTES_CODECS: Readonly<Record<string, BytesCodec>> = { gzip, zstd, crc32c: checksum32c };

function parseBytesCodec(site: Site, { name }: Named): BytesCodec {
  const codec = Object.hasOwn(BYTES_CODECS, name) ? BYTES_CODECS[name] : undefined;
  return codec ?? failUnsupported(site, `q3c does not know the codec ${showJson(name)}`);
}

function parseSharding(
  site: Site,
  {
    chunk_shape: inner,
    codecs,
    index_codecs: indexCodecs,
    index_location: location = "end",
  }: Named["configuration"],
  type: unknown,
  shard: readonly number[],
): Sharding {
  const chunk = parseChunk(site, inner, shard.length);
  if (shard.some((size, axis) => size % (chunk[axis] ?? 1) !== 0))
    failMetadata(site, `inner chunks ${showJson(chunk)} do not divide the shard ${showJson(shard)}`);
  if (location !== "start" && location !== "end")
    failMetadata(site, `expected index_location "start" or "end", found ${showJson(location)}`);
  const index = parseLayout(site, indexCodecs, "uint64", [1]);
  if (index.order || index.sharding || index.bytes.some(({ encodedLength }) => encodedLength === undefined))
    failMetadata(
      site,
      `the index of a shard must have a fixed length, which ${showJson(indexCodecs)} do not give`,
    );
  return {
    chunk,
    layout: parseLayout(site, codecs, type, chunk),
    index: {
      isBigEndian: index.element.isBigEndian,
      codecs: index.bytes,
      isAtStart: location === "start",
    },
  };
}

/** Metadata for an array that q3c writes: plain bytes with a check sum that finds damage. */
export const printV3 = ({ shape, dtype }: StoredTensor, chunk: readonly number[]): string =>
  JSON.stringify({
    zarr_format: 3,
    node_type: "array",
    shape,
    data_type: nameV3(dtype),
    chunk_grid: { name: "regular", configuration: { chunk_shape: chunk } },
    chunk_key_encoding: { name: "default" },
    fill_value: dtype === "BOOL" ? false : dtype === "C64" ? [0, 0] : 0,
    codecs: [bytesCodec(dtype), { name: checksum32c.name }],
  });

// Single bytes have no order.
const bytesCodec = (dtype: StoredTensor["dtype"]): object =>
  bitsOf(dtype) > 8 ? { name: "bytes", configuration: { endian: "little" } } : { name: "bytes" };
