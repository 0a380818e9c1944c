"""Databases that TensorStore writes, for tests/checkpoint/ocdbt.test.ts.

    pip install tensorstore    # 0.1.85
    python tests/oracles/ocdbt_golden.py tests/checkpoint/ocdbt-goldens

Key i of a database of n keys is `layers.<i // 10>.kernel/c/<i % 10>`; its value is (7 i) % 97 bytes, byte j of
which is (i + j) % 251.
"""

import json
import pathlib
import shutil
import sys

import tensorstore as ts

CONFIGS = {
    # A tree of several levels, rewritten by later commits, so that old nodes and old versions lie around.
    "levels": (300, 30, {"max_inline_value_bytes": 16, "max_decoded_node_bytes": 400}),
    # More commits than a manifest holds: older versions hang on version tree nodes.
    "versions": (12, 1, {"max_inline_value_bytes": 16, "version_tree_arity_log2": 1}),
    "numbered": (60, 20, {"manifest_kind": "numbered", "compression": None}),
}


def key(i):
    return f"layers.{i // 10}.kernel/c/{i % 10}".encode()


def value(i):
    return bytes((i + j) % 251 for j in range(7 * i % 97))


def write(path, count, batch, config):
    store = ts.KvStore.open({"driver": "ocdbt", "base": path.resolve().as_uri() + "/", "config": config}).result()
    for start in range(0, count, batch):
        with ts.Transaction() as transaction:
            for i in range(start, min(start + batch, count)):
                store.with_transaction(transaction)[key(i)] = value(i)


def main(out):
    for name, (count, batch, config) in CONFIGS.items():
        path = pathlib.Path(out) / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        write(path, count, batch, config)
        print(name, sum(f.stat().st_size for f in path.rglob("*") if f.is_file()), json.dumps(config))


if __name__ == "__main__":
    main(sys.argv[1])
