// What is read, decoded and held of chunks of which parts are wanted.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { KvReader } from "../../runtime/checkpoint/kv.ts";
import type { Box } from "../../runtime/checkpoint/tensors.ts";
import { openArray } from "../../runtime/checkpoint/zarr/array.ts";
import { checksum32c } from "../../runtime/checkpoint/zarr/codecs.ts";
import { heldBy, isWhole, type Memo } from "../../runtime/checkpoint/zarr/memo.ts";
import { failure } from "./support.ts";
import {
  type Chain,
  CRC32C,
  codecsJson,
  elementsIn,
  GZIP,
  json,
  metadataV2,
  metadataV3,
  slice,
  storeOf,
  ZLIB,
} from "./zarr-support.ts";

test("a chunk of which parts are wanted is decoded once, and what is held of chunks is limited", () => {
  const rows = 48;
  const row = 1 << 20;
  // Three chunks of 48 MiB, of which two fit.
  const metadata = metadataV2([3 * rows, row], [rows, row]);
  const body = new Uint8Array(rows * row);
  const values = new Map([
    ["w/.zarray", json(metadata)],
    ...[0, 1, 2].map((i) => [`w/${i}.0`, body] as const),
  ]);
  const reads: string[] = [];
  const store = storeOf(values);
  const counted: KvReader = {
    ...store,
    read(key) {
      reads.push(key);
      return store.read(key);
    },
  };
  const memo: Memo = new Map();
  const array = openArray(counted, "w", { version: 2, isComplete: true, memo });
  const touch = (chunk: number): number => {
    reads.length = 0;
    array.read([
      [chunk * rows, chunk * rows + 2],
      [0, 8],
    ]);
    return reads.length;
  };
  expect([0, 0, 1, 0, 2, 0, 1].map(touch)).toEqual([1, 0, 1, 0, 1, 0, 1]);
  expect([...memo.values()].reduce((sum, kept) => sum + (isWhole(kept) ? kept.bytes.length : 0), 0)).toBe(
    2 * rows * row,
  );
});

test("the memory of a chunk that is no longer held goes to another, not that of what was read", () => {
  const [rows, row] = [60, 1 << 20];
  const metadata = metadataV2([3 * rows, row], [rows, row]);
  const given = new Set<ArrayBufferLike>();
  const filled: KvReader = {
    ...storeOf(
      new Map([
        ["w/.zarray", json(metadata)],
        ...[0, 1, 2].map((i) => [`w/${i}.0`, new Uint8Array()] as const),
      ]),
    ),
    read(key, range, room) {
      if (key === "w/.zarray") return json(metadata);
      expect(range).toBe(undefined);
      const bytes = room!(rows * row).fill(key.charCodeAt(2));
      given.add(bytes.buffer);
      return bytes;
    },
  };
  const array = openArray(filled, "w", { version: 2, isComplete: true, memo: new Map() });
  const order = [0, 1, 2, 0, 1, 1, 2, 0];
  const read = order.map((chunk) =>
    array.read([
      [chunk * rows + 3, chunk * rows + 5],
      [7, 15],
    ]),
  );
  expect(read.map((bytes) => [...new Set(bytes)])).toEqual(order.map((chunk) => [48 + chunk]));
  // Two are held, and the first was not held when it was read again.
  expect(given.size).toBeLessThan(new Set(order).size + 1);
});

test("the pieces of a chunk are all read into the same memory, in a shard as by themselves", () => {
  const [rows, row] = [4, 1 << 20];
  const body = Buffer.alloc(rows * row);
  // What gzip makes no shorter.
  for (let i = 0, word = 1; i < body.length; i += 4) {
    word = (Math.imul(word, 1664525) + 1013904223) | 0;
    body.writeInt32LE(word, i);
  }
  const gzipped: Chain = { isBigEndian: false, codecs: [GZIP] };
  const sharded: Chain = {
    isBigEndian: false,
    codecs: [],
    shard: {
      counts: [1, 1],
      chain: gzipped,
      isIndexAtStart: false,
      isIndexBigEndian: false,
      indexCodecs: [],
      absent: new Set(),
    },
  };
  const encoded = GZIP.encode(body);
  const index = Buffer.alloc(16);
  index.writeBigUInt64LE(BigInt(encoded.length), 8);
  for (const [chain, stored] of [
    [gzipped, encoded],
    [sharded, Buffer.concat([encoded, index])],
  ] as const) {
    const store = storeOf(
      new Map([
        ["w/zarr.json", json(metadataV3([rows, row], [rows, row], codecsJson(chain, [rows, row])))],
        ["w/c/0/0", stored],
      ]),
    );
    const given = new Set<ArrayBufferLike>();
    let pieces = 0;
    const noted: KvReader = {
      ...store,
      read(key, range, room) {
        const bytes = store.read(key, range);
        // The metadata and a shard's index have no piece's length.
        if (!range || range.length <= index.length) return bytes;
        pieces++;
        const put = room ? room(bytes.length) : new Uint8Array(bytes.length);
        put.set(bytes);
        given.add(put.buffer);
        return put;
      },
    };
    const box: Box = [
      [1, 3],
      [5, 9],
    ];
    const array = openArray(noted, "w", { version: 3, isComplete: true, memo: new Map() });
    expect(array.read(box)).toEqual(slice(body, [rows, row], box, 1));
    expect(pieces).toBeGreaterThan(4);
    expect(given.size).toBe(1);
  }
});

test("small chunks after large ones do not hold the memory of these", () => {
  const [large, small] = [100, 5].map((megabytes) => megabytes << 20) as [number, number];
  const array = (name: string, bytes: number): [string, Uint8Array] => [
    `${name}/.zarray`,
    json(metadataV2([80, bytes / 2], [2, bytes / 2])),
  ];
  const stored = new Map([array("l", large), array("s", small)]);
  for (let i = 0; i < 40; i++) for (const name of ["l", "s"]) stored.set(`${name}/${i}.0`, new Uint8Array());
  const given = new Map<ArrayBufferLike, number>();
  const store: KvReader = {
    ...storeOf(stored),
    read(key, _range, room) {
      if (key.endsWith(".zarray")) return stored.get(key)!;
      const bytes = room!(key.startsWith("l") ? large : small);
      given.set(bytes.buffer, bytes.buffer.byteLength);
      return bytes;
    },
  };
  const memo: Memo = new Map();
  const [l, s] = ["l", "s"].map((name) => openArray(store, name, { version: 2, isComplete: true, memo }));
  const columnOf = (i: number): Box => [
    [2 * i, 2 * i + 2],
    [0, 1],
  ];
  for (let i = 0; i < 6; i++) {
    l!.read(columnOf(i));
    for (let j = 6 * i; j < 6 * i + 6; j++) s!.read(columnOf(j));
    const held = [...memo.values()].map((kept) => (isWhole(kept) ? kept.bytes.buffer : undefined));
    const bytes = held.reduce((sum, buffer) => sum + (buffer ? (given.get(buffer) ?? 0) : 0), 0);
    expect(bytes).toBeLessThanOrEqual(1 << 27);
  }
});

describe("a chunk that codecs leave as it is", () => {
  const [rows, row] = [16, 1 << 17];
  const body = Uint8Array.from({ length: rows * row }, (_, i) => i % 251);
  const opened = (codecs: readonly object[], chunk: Uint8Array) => {
    const values = new Map([
      ["w/zarr.json", json(metadataV3([rows, row], [rows, row], codecs))],
      ["w/c/0/0", chunk],
    ]);
    const store = storeOf(values);
    let taken = 0;
    const counted: KvReader = {
      ...store,
      read(key, range, room) {
        if (key === "w/c/0/0") taken += range?.length ?? chunk.length;
        return store.read(key, range, room);
      },
    };
    const memo: Memo = new Map();
    const array = openArray(counted, "w", { version: 3, isComplete: true, memo });
    const held = (): number => [...memo.values()].reduce((n, kept) => n + heldBy(kept), 0);
    return { array, held, taken: () => taken };
  };
  const bytesCodec = { name: "bytes" };
  const rowAt = (i: number): Box => [
    [i, i + 1],
    [0, row],
  ];
  const summed = (bytes: Uint8Array): Uint8Array => Buffer.concat(checksum32c.encode!(bytes));

  test("is read where it lies: no more than is wanted, beside once to check it", () => {
    const { array, held, taken } = opened([bytesCodec, { name: "crc32c" }], summed(body));
    for (const i of [3, 9, 0]) expect(array.read(rowAt(i))).toEqual(body.subarray(i * row, (i + 1) * row));
    expect(taken()).toBe(body.length + 4 + 3 * row);
    expect(
      array.read([
        [2, 5],
        [7, 7 + 300],
      ]),
    ).toEqual(Buffer.concat([2, 3, 4].map((i) => body.subarray(i * row + 7, i * row + 307))));
    expect(held()).toBe(body.length);
    const bare = opened([bytesCodec], body);
    expect(bare.array.read(rowAt(5))).toEqual(body.subarray(5 * row, 6 * row));
    expect([bare.taken(), bare.held()]).toEqual([row, 0]);
  });

  test("is read once where all of it is wanted", () => {
    const { array, held, taken } = opened([bytesCodec, { name: "crc32c" }], summed(body));
    const whole: Box = [
      [0, rows],
      [0, row],
    ];
    expect(Buffer.compare(array.read(whole), body)).toBe(0);
    expect([taken(), held()]).toEqual([body.length + 4, 0]);
  });

  test("is an error wherever it is damaged, whatever is wanted of it", () => {
    for (const at of [0, 5 * row + 1, body.length - 1, body.length, body.length + 3]) {
      const damaged = Uint8Array.from(summed(body));
      damaged[at]! ^= 4;
      const { array } = opened([bytesCodec, { name: "crc32c" }], damaged);
      for (const i of [0, 1])
        expect(failure(() => array.read(rowAt(i)))).toMatchObject({
          code: "chunk-damaged",
          message: expect.stringMatching(/chunk c\/0\/0: its CRC-32C is [0-9a-f]{8}, but/),
        });
    }
    const short = summed(body.subarray(row));
    expect(
      failure(() => opened([bytesCodec, { name: "crc32c" }], short).array.read(rowAt(0))).message,
    ).toContain(`expected ${body.length} bytes of elements, found ${body.length - row}`);
    expect(failure(() => opened([bytesCodec], body.subarray(1)).array.read(rowAt(0))).message).toContain(
      `found ${body.length - 1}`,
    );
  });
});

describe("a chunk too large to be kept", () => {
  // 1280 blocks of 128 KiB, each of one byte repeated; rows of 1 MiB.
  const [rows, columns, row] = [10, 16, 1 << 20];
  const BLOCK = 1 << 17;
  const blocks = (rows * columns * row) / BLOCK;
  const valueAt = (at: number): number => Math.floor(at / BLOCK) % 251;
  /** Its blocks may refer back 2^log bytes. */
  const frame = (count = blocks, log = 20): Uint8Array => {
    const bytes = Buffer.alloc(6 + count * 4);
    bytes.writeUInt32LE(0xfd2fb528, 0);
    bytes.writeUInt8(0, 4);
    bytes.writeUInt8((log - 10) << 3, 5);
    for (let i = 0; i < count; i++) {
      bytes.writeUIntLE((BLOCK << 3) | 2 | (i === count - 1 ? 1 : 0), 6 + i * 4, 3);
      bytes.writeUInt8(valueAt(i * BLOCK), 9 + i * 4);
    }
    return bytes;
  };
  /** The array, what is held of it, and how often its chunk was begun. */
  const opened = (body = frame(), id = "zstd", height = rows) => {
    const shape = [height, columns, row];
    const store = storeOf(
      new Map([
        ["w/.zarray", json(metadataV2(shape, shape, { compressor: { id } }))],
        ["w/0.0.0", body],
      ]),
    );
    let begun = 0;
    const counted: KvReader = {
      ...store,
      read(key, range) {
        if (key === "w/0.0.0" && !range?.offset) begun++;
        return store.read(key, range);
      },
    };
    const memo: Memo = new Map();
    const array = openArray(counted, "w", { version: 2, isComplete: true, memo });
    const held = (): number => [...memo.values()].reduce((n, kept) => n + heldBy(kept), 0);
    return { array, held, begun: () => begun };
  };
  const boxAt = (i: number, first = 0, last = row): Box => [
    [Math.floor(i / columns), Math.floor(i / columns) + 1],
    [i % columns, (i % columns) + 1],
    [first, last],
  ];
  const valuesAt = (at: number, bytes: Uint8Array): Uint8Array => {
    for (let i = 0; i < bytes.length; ) {
      const end = Math.min(bytes.length, i + BLOCK - ((at + i) % BLOCK));
      bytes.fill(valueAt(at + i), i, end);
      i = end;
    }
    return bytes;
  };
  const isRight = (bytes: Uint8Array, at: number): boolean =>
    Buffer.compare(valuesAt(at, Buffer.alloc(bytes.length)), bytes) === 0;

  test("is decoded once and not held while its boxes come in order, and held whole when they do not", () => {
    const { array, held, begun } = opened();
    for (let i = 1; i < rows * columns; i += 7) {
      expect(isRight(array.read(boxAt(i, 5, row - 3)), i * row + 5)).toBe(true);
      expect(held()).toBeLessThan(1 << 23);
    }
    expect(begun()).toBe(1);
    for (const i of [3, 1, 2, 159]) expect(isRight(array.read(boxAt(i)), i * row)).toBe(true);
    expect(begun()).toBe(2);
    expect(held()).toBe(rows * columns * row);
  });

  test("is decoded once even if its blocks may refer to all of it", () => {
    const { array, begun } = opened(frame(blocks, 30));
    for (let i = 0; i < rows * columns; i += 3)
      expect(isRight(array.read(boxAt(i, 0, 9)), i * row)).toBe(true);
    expect(begun()).toBe(1);
  });

  test("is held whole at once where boxes reach over most of it", () => {
    const { array, held, begun } = opened();
    const at = [3, 2, 11];
    for (const start of at) {
      const bytes = array.read([
        [0, rows],
        [start, start + 1],
        [9, 10],
      ]);
      expect([...bytes]).toEqual(
        Array.from({ length: rows }, (_, i) => valueAt((i * columns + start) * row + 9)),
      );
    }
    expect(begun()).toBe(1);
    expect(held()).toBe(rows * columns * row);
  });

  const plain = (): Buffer => {
    const bytes = Buffer.alloc(rows * columns * row);
    valuesAt(0, bytes);
    return bytes;
  };

  test.each([
    ["gzip", GZIP],
    ["zlib", ZLIB],
  ])("is decoded as boxes reach from %s too, after its check sum was", (id, { encode }) => {
    const body = encode(plain());
    const { array, held, begun } = opened(body, id);
    for (let i = 1; i < rows * columns; i += 7) {
      expect(isRight(array.read(boxAt(i, 5, row - 3)), i * row + 5)).toBe(true);
      expect(held()).toBeLessThan(1 << 23);
    }
    expect(begun()).toBe(2);
    // Before it, none of its elements are given.
    body[body.length - 1]! ^= 1;
    expect(failure(() => opened(body, id).array.read(boxAt(0))).message).toMatch(
      /^memory\/w\/0.0.0: chunk-damaged: tensor `w`: chunk 0.0.0: not whole (gzip|zlib) data: /,
    );
  });

  test("is decoded as boxes reach through any chain of codecs, after its check sums were", () => {
    const chain: Chain = { isBigEndian: false, codecs: [GZIP, CRC32C] };
    const shape = [rows, columns, row];
    const body = CRC32C.encode(GZIP.encode(plain()));
    const metadata = metadataV3(shape, shape, codecsJson(chain, shape));
    const memo: Memo = new Map();
    const store = storeOf(
      new Map([
        ["w/zarr.json", json(metadata)],
        ["w/c/0/0/0", body],
      ]),
    );
    const array = openArray(store, "w", { version: 3, isComplete: true, memo });
    for (const i of [2, 77, 159]) expect(isRight(array.read(boxAt(i)), i * row)).toBe(true);
    expect([...memo.values()].some(isWhole)).toBe(false);
  });

  test("may be under a check sum that comes last, in whatever pieces it comes", () => {
    function* inPieces(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array, void> {
      let at = 0;
      for (const size of [...sizes, bytes.length]) {
        yield bytes.subarray(at, at + size);
        at += size;
      }
    }
    const site = { file: "a file", tensor: "w", what: "a chunk" };
    fc.assert(
      fc.property(fc.uint8Array(), fc.array(fc.nat(9)), fc.nat(), (bytes, sizes, place) => {
        const summed = CRC32C.encode(bytes);
        const read = (limit: number): Buffer =>
          Buffer.concat([...checksum32c.unpack(inPieces(summed, sizes), limit, site)]);
        expect(read(bytes.length).equals(bytes)).toBe(true);
        expect(bytes.length === 0 || failure(() => read(bytes.length - 1)).code === "chunk-damaged").toBe(
          true,
        );
        summed[place % summed.length]! ^= 1;
        expect(failure(() => read(bytes.length)).message).toMatch(/its CRC-32C is [0-9a-f]{8}, but/);
      }),
    );
    expect(failure(() => [...checksum32c.unpack([Buffer.of(1, 2, 3)], 9, site)]).message).toContain(
      "found 3",
    );
  });

  test("is not held whole if it is larger still, in whatever order and however far boxes reach", () => {
    const height = 40;
    const { array, held, begun } = opened(frame((blocks / rows) * height), "zstd", height);
    const column = (start: number): Box => [
      [1, height],
      [start, start + 2],
      [row - 5, row - 2],
    ];
    // Each across all of it, from its first row to its last.
    const readColumn = (start: number): void => {
      const wanted = Array.from({ length: 2 * (height - 1) }, (_, i) => {
        const at = ((1 + (i >> 1)) * columns + start + (i & 1)) * row + row - 5;
        return [0, 1, 2].map((n) => valueAt(at + n));
      });
      expect([...array.read(column(start))]).toEqual(wanted.flat());
    };
    // Of its 16 columns, 13 fit into what may be held.
    const passes = [0, 1, 2, 5, 11, 9, 13, 14, 3, 0].map((start) => {
      readColumn(start);
      expect(held()).toBeLessThan((1 << 29) + (1 << 23));
      return begun();
    });
    expect(passes).toEqual([1, 1, 1, 1, 1, 1, 2, 2, 3, 4]);
    for (const i of [3, 1, 639, 2, 638]) expect(isRight(array.read(boxAt(i)), i * row)).toBe(true);
    expect(begun()).toBe(7);
  });

  test("is read where boxes lie, and what is between their rows, if it went through no codec", () => {
    const shape = [40, columns, row];
    const metadata = json(metadataV2(shape, shape));
    let read = 0;
    const store: KvReader = {
      ...storeOf(new Map([["w/.zarray", metadata]])),
      keys: new Map([
        ["w/.zarray", metadata.length],
        ["w/0.0.0", elementsIn(shape)],
      ]),
      read(key, range, room) {
        if (key === "w/.zarray") return metadata;
        const { offset, length } = range!;
        read += length;
        return valuesAt(offset, room!(length));
      },
    };
    const memo: Memo = new Map();
    const array = openArray(store, "w", { version: 2, isComplete: true, memo });
    for (const i of [150, 3, 77]) expect(isRight(array.read(boxAt(i)), i * row)).toBe(true);
    expect(read).toBe(3 * row);
    const across = array.read([
      [1, 3],
      [0, columns],
      [7, 8],
    ]);
    expect([...across]).toEqual(
      Array.from({ length: 2 * columns }, (_, i) => valueAt((i + columns) * row + 7)),
    );
    expect(read).toBe((3 + 2 * columns) * row);
    expect([...memo.values()].reduce((n, kept) => n + heldBy(kept), 0)).toBe(0);
  });

  test("is right up to where it is damaged, and an error from there on", () => {
    const body = frame();
    body[6 + 800 * 4] = 7;
    const { array, begun } = opened(body);
    expect(isRight(array.read(boxAt(99)), 99 * row)).toBe(true);
    for (const i of [100, 101])
      expect(failure(() => array.read(boxAt(i)))).toMatchObject({
        code: "zstd-damaged",
        message: expect.stringContaining("memory/w/0.0.0: zstd-damaged: tensor `w`: chunk 0.0.0"),
      });
    expect(begun()).toBe(1);
    expect(failure(() => array.read(boxAt(3))).code).toBe("zstd-damaged");
  });

  test.each([
    ["shorter", -1, "expected 167772160 bytes of elements, found 167641088"],
    ["longer", 1, "decodes to more than the 167772160 bytes expected at most"],
  ])("that is %s than its shape says is an error with its last elements", (_, more, wanted) => {
    const { array } = opened(frame(blocks + more));
    array.read(boxAt(150));
    expect(failure(() => array.read(boxAt(rows * columns - 1))).message).toContain(wanted);
  });
});
