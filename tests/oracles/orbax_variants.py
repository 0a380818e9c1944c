"""Orbax checkpoints of every variant, both ways: what Orbax writes q3c reads, what q3c writes Orbax restores.

    python orbax_variants.py goldens DIR     write small checkpoints with Orbax, and beside them expected.json
    python orbax_variants.py read DIR        q3c reads those, and every byte is compared
    python orbax_variants.py restore DIR     q3c writes every variant, Orbax restores each in every way, and every
                                             byte is compared
    python orbax_variants.py compare ITEM    the item of any checkpoint, read by both

All but the first call orbax_variants.mjs, which needs `npm run build`. expected.json holds, by checkpoint and by
tensor, the dtype as safetensors spells it, the shape and the bytes in base64. Everything runs on the CPU.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
DEVICES = 4 if "process" in sys.argv[1:2] else 8
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"

import jax  # noqa: E402
import ml_dtypes  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import orbax.checkpoint as ocp  # noqa: E402
from jax.sharding import NamedSharding, PartitionSpec  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_cpu_collectives_implementation", "gloo")

DTYPES = {
    "BOOL": np.dtype("bool"),
    "U8": np.dtype("uint8"),
    "I8": np.dtype("int8"),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "U16": np.dtype("uint16"),
    "I16": np.dtype("int16"),
    "F16": np.dtype("float16"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "U32": np.dtype("uint32"),
    "I32": np.dtype("int32"),
    "F32": np.dtype("float32"),
    "U64": np.dtype("uint64"),
    "I64": np.dtype("int64"),
    "F64": np.dtype("float64"),
    "C64": np.dtype("complex64"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()} | {
    np.dtype(ml_dtypes.int4): "I8",
    np.dtype(ml_dtypes.int2): "I8",
}
MJS = Path(__file__).with_suffix(".mjs")


def entry(value) -> dict:
    """What expected.json says of an array. Narrow integers are held in a byte, random keys as
    their numbers, as q3c gives them."""
    if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    name = NAMES[array.dtype]
    wide = array.astype(DTYPES[name]) if array.dtype not in DTYPES.values() else array
    return {"dtype": name, "shape": list(array.shape), "bytes": base64.b64encode(wide.tobytes()).decode()}


def decode(e: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(e["bytes"]), DTYPES[e["dtype"]]).reshape(e["shape"])


def flat(tree) -> dict:
    """The arrays and numbers of a tree by the names Orbax stores them under."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    key = lambda k: str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", None))))
    return {".".join(map(key, path)): leaf for path, leaf in leaves if not isinstance(leaf, str)}


def draw(rng, shape, dtype):
    dtype = np.dtype(dtype)
    if dtype == bool:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        return rng.integers(0, 100, shape).astype(dtype)
    return rng.standard_normal(shape).astype(np.float32).astype(dtype)


def mixed(rng) -> dict:
    """A tree with every kind of leaf: arrays of all dtypes, numbers, a string, empty nodes, lists in lists."""
    return {
        "arrays": {name: draw(rng, (3, 4), dtype) for name, dtype in DTYPES.items() if name != "F8_E8M0"},
        "narrow": {"int4": rng.integers(-8, 8, (5,)).astype(ml_dtypes.int4),
                   "int2": rng.integers(-2, 2, (5,)).astype(ml_dtypes.int2)},
        "list": [draw(rng, (), "float32"), [draw(rng, (7,), ml_dtypes.bfloat16), None], {}],
        "zeros": np.zeros((4, 2), "float32"),
        "whole": 3,
        "half": 0.5,
        "number": np.float32(1.25),
        "note": "text",
        "none": None,
        "nothing": [],
    }


def train_state(rng, put=jax.device_put) -> dict:
    """A training state as MaxText saves it: jax arrays, an optax chain, layers stacked on axis 1."""
    kernel = lambda *shape: put(draw(rng, shape, "float32"))
    params = {"params": {
        "token_embedder": {"embedding": kernel(16, 8)},
        "decoder": {
            "decoder_norm": {"scale": put(draw(rng, (8,), "float32"))},
            "layers": {"layer_0": {"mlp": {"routed_experts": {"wi_0": kernel(4, 2, 8, 4), "wo": kernel(4, 2, 4, 8)}},
                                   "input_layernorm": {"scale": kernel(8, 2)}}},
        }}}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    return {"step": jax.numpy.int32(3), "params": params, "opt_state": jax.tree.map(put, optimizer.init(params))}


def sharded(rng) -> dict:
    """Arrays over eight devices: split along one axis or two, and copied."""
    mesh = jax.make_mesh((4, 2), ("fsdp", "tensor"))
    put = lambda shape, dtype, *spec: jax.device_put(
        draw(rng, shape, dtype), NamedSharding(mesh, PartitionSpec(*spec)))
    return {
        "rows": put((8, 4), ml_dtypes.bfloat16, "fsdp"),
        "both": put((8, 6), "float32", "fsdp", "tensor"),
        "last": put((3, 8), "int32", None, ("fsdp", "tensor")),
        "copied": put((5,), ml_dtypes.float8_e4m3fn),
    }


def save(path: Path, tree, *, ocdbt, zarr3, step=None, custom=None, chunk_bytes=None, file_bytes=None, **options):
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=ocdbt, use_zarr3=zarr3, **options)
    each = jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=chunk_bytes), tree) if chunk_bytes else None
    args = ocp.args.PyTreeSave(tree, save_args=each, ocdbt_target_data_file_size=file_bytes)
    if step is None:
        ocp.Checkpointer(handler).save(path, args=args)
        return
    manager = ocp.CheckpointManager(path, item_names=("items",), item_handlers={"items": handler})
    manager.save(step, args=ocp.args.Composite(items=args), custom_metadata=custom)
    manager.close()


PROCESSES = {"rows": ("float32", 0, "x"), "copied": ("float32", 100), "whole": ("int32", 0)}


def from_process(root: Path, index: int, port: int) -> None:
    """What one of two processes does that save together: each has four devices of eight."""
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, index)
    mesh = jax.make_mesh((8,), ("x",))
    tree = {}
    for name, array in processes().items():
        sharding = NamedSharding(mesh, PartitionSpec(*PROCESSES[name][2:]))
        tree[name] = jax.make_array_from_callback(array.shape, sharding, lambda at, array=array: array[at])
    save(root, tree, ocdbt=True, zarr3=True)


def processes() -> dict:
    return {name: np.arange(64, dtype=dtype).reshape(16, 4) + np.dtype(dtype).type(first)
            for name, (dtype, first, *_) in PROCESSES.items()}


def goldens(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    rng = np.random.default_rng(7)
    expected = {}

    def write(at, tree, **options):
        save((root / at).absolute(), tree, **options)
        expected[at] = {key: entry(leaf) for key, leaf in flat(tree).items()}

    for ocdbt in (True, False):
        for zarr3 in (True, False):
            form = f"{'ocdbt' if ocdbt else 'files'}-zarr{3 if zarr3 else 2}"
            write(f"mixed-{form}", mixed(rng), ocdbt=ocdbt, zarr3=zarr3)
            write(f"sharded-{form}", sharded(rng), ocdbt=ocdbt, zarr3=zarr3)
    state = train_state(rng)
    write("train-ocdbt-zarr3", state, ocdbt=True, zarr3=True, step=3, custom={"scan_layers": True})
    few = {"w": jax.device_put(draw(rng, (24, 50), "float32"))}
    for zarr3 in (True, False):
        write(f"chunked-files-zarr{3 if zarr3 else 2}", few, ocdbt=False, zarr3=zarr3, chunk_bytes=1000)
        write(f"plain-files-zarr{3 if zarr3 else 2}", few, ocdbt=False, zarr3=zarr3, use_compression=False)
    write("many-files-ocdbt-zarr3", few, ocdbt=True, zarr3=True, chunk_bytes=1000, file_bytes=1500)
    at = "processes-ocdbt-zarr3"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [subprocess.Popen([sys.executable, __file__, "process", (root / at).absolute(), str(i), str(port)])
            for i in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    expected[at] = {key: entry(leaf) for key, leaf in processes().items()}
    (root / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")
    print(f"{len(expected)} checkpoints, {sum(f.stat().st_size for f in root.rglob('*') if f.is_file())} bytes")


def node(*args) -> str:
    return subprocess.run(["node", MJS, *map(str, args)], check=True, stdout=subprocess.PIPE, text=True).stdout


def read(root: Path) -> bool:
    ok = True
    for at, wanted in json.loads((root / "expected.json").read_text()).items():
        found = json.loads(node("dump", root / at))
        bad = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        print(f"{at:28} {len(wanted):3} tensors  {'equal' if not bad else f'DIFFERENT: {bad}'}")
        ok &= not bad
    return ok


def compare(item: Path) -> bool:
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    handler = ocp.PyTreeCheckpointer()
    metadata = handler.metadata(item.absolute()).item_metadata.tree
    args = jax.tree.map(lambda _: ocp.ArrayRestoreArgs(sharding=one), metadata)
    wanted = {key: entry(leaf) for key, leaf in flat(handler.restore(item.absolute(), restore_args=args)).items()}
    found = json.loads(node("dump", item))
    bad = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    print(f"{item}  {len(wanted)} tensors  {'equal' if not bad else f'DIFFERENT: {bad}'}")
    return not bad


def nested(entries: dict, paths: dict, leaf) -> dict:
    """The tree whose leaves these are, sequences as lists."""
    tree: dict = {}
    for name, e in entries.items():
        *outer, last = paths[name]
        at = tree
        for key in outer:
            at = at.setdefault(key, {})
        at[last] = leaf(e)
    lists = lambda node: node if not isinstance(node, dict) else (
        [lists(node[i]) for i in sorted(node)] if node and all(isinstance(k, int) for k in node)
        else {k: lists(v) for k, v in node.items()})
    return lists(tree)


def restores(path: Path, step: int | None, target):
    """Every way to restore, as (name, tree)."""
    if step is not None:
        handler = ocp.PyTreeCheckpointHandler()
        manager = ocp.CheckpointManager(path, item_names=("items",), item_handlers={"items": handler})
        assert manager.latest_step() == step, manager.latest_step()
        yield "CheckpointManager", manager.restore(step, args=ocp.args.Composite(items=ocp.args.PyTreeRestore()))["items"]
        args = ocp.checkpoint_utils.construct_restore_args(target)
        restore = ocp.args.PyTreeRestore(item=target, restore_args=args, partial_restore=True)
        yield "resume (partial_restore)", manager.restore(step, args=ocp.args.Composite(items=restore))["items"]
        path = path / str(step) / "items"
    yield "PyTreeCheckpointer", ocp.PyTreeCheckpointer().restore(path)
    args = ocp.checkpoint_utils.construct_restore_args(target)
    yield "load_parameters (transforms={})", ocp.PyTreeCheckpointer().restore(
        path, item=target, transforms={}, restore_args=args)
    yield "StandardCheckpointer", ocp.StandardCheckpointer().restore(path, target)
    yield "v1 load", ocp.v1.load(path.parent if step is not None else path, target, **(
        {"checkpointable_name": "items"} if step is not None else {}))


def restore(root: Path) -> bool:
    shutil.rmtree(root, ignore_errors=True)
    node("write", root)
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    ok = True
    for at, (step, entries, paths) in json.loads((root / "expected.json").read_text()).items():
        abstract = lambda e: jax.ShapeDtypeStruct(e["shape"], DTYPES[e["dtype"]], sharding=one)
        target = nested(entries, paths, abstract)
        for way, tree in restores((root / at).absolute(), step, target):
            found = {key: entry(leaf) for key, leaf in flat(tree).items()}
            bad = sorted(name for name in entries if entries[name] != found.get(name))
            print(f"{at:28} {way:32} {len(entries):3} tensors  {'equal' if not bad else f'DIFFERENT: {bad}'}")
            ok &= not bad
    return ok


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["goldens", "read", "restore", "compare", "process"])
    parser.add_argument("dir", type=Path)
    parser.add_argument("rest", type=int, nargs="*", help="of `process`, which `goldens` calls: its number and a port")
    args = parser.parse_args()
    if args.command == "process":
        from_process(args.dir, *args.rest)
        return
    result = {"goldens": goldens, "read": read, "restore": restore, "compare": compare}[args.command](args.dir)
    sys.exit(0 if result in (None, True) else 1)


if __name__ == "__main__":
    main()
