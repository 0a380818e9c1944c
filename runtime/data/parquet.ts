// Rows of Parquet files, one row group in memory at a time.

import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { fail } from "../../compiler/diag.ts";
import { reason, requireReadable } from "../files.ts";

/** A row by column names; 64-bit integers are bigints. */
export type ParquetRow = Readonly<Record<string, unknown>>;

/** The rows of a file in order, with those of its columns that `wants` names. */
export async function* parquetRows(
  path: string,
  wants: (column: string) => boolean,
): AsyncGenerator<ParquetRow> {
  requireReadable(path);
  const file = await asyncBufferFromFile(path);
  const metadata = await decoding(path, () => parquetMetadataAsync(file));
  const columns = parquetSchema(metadata)
    .children.map(({ element }) => element.name)
    .filter(wants);
  let rowStart = 0;
  for (const { num_rows } of metadata.row_groups) {
    const rowEnd = rowStart + Number(num_rows);
    const range = { file, metadata, compressors, columns, rowStart, rowEnd };
    yield* await decoding(path, () => parquetReadObjects(range));
    rowStart = rowEnd;
  }
}

// The library trusts the file; what it throws on a file that breaks that trust is about the file, not about us.
async function decoding<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    return fail({
      code: "parquet-malformed",
      message: `not a readable Parquet file: ${reason(error)}`,
      at: { file: path },
    });
  }
}
