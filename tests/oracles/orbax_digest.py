"""What an Orbax item holds, as real Orbax restores it: every array's dtype, shape and SHA-256 of its bytes.

    python tests/oracles/orbax_digest.py ITEM > digest.json

`tests/goldens/maxtext-tiny/{scanned,unscanned}.json` are the digests of the checkpoints that MaxText's to_maxtext
(commit e591f30c, scan_layers true and false) made of that folder's model.safetensors. With a second item the two are
compared instead, which is how a conversion of q3c's is held against MaxText's by Orbax itself.
Needs orbax-checkpoint 0.12 and jax 0.10.
"""

import hashlib
import json
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp


def restore(item):
    handler = ocp.PyTreeCheckpointHandler()
    checkpointer = ocp.Checkpointer(handler)
    tree = checkpointer.metadata(item).item_metadata.tree
    args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    return checkpointer.restore(item, args=ocp.args.PyTreeRestore(restore_args=args))


def digest(item):
    leaves, _ = jax.tree_util.tree_flatten_with_path(restore(item))
    out = {}
    for path, leaf in leaves:
        array = np.ascontiguousarray(leaf)
        name = ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)
        sha256 = hashlib.sha256(array.tobytes()).hexdigest()
        out[name] = {"dtype": str(array.dtype), "shape": list(np.shape(leaf)), "sha256": sha256}
    return dict(sorted(out.items()))


if __name__ == "__main__":
    digests = [digest(item) for item in sys.argv[1:]]
    if len(digests) == 1:
        print(json.dumps(digests[0], indent=1))
    else:
        one, other = digests
        differing = [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
        print(f"{len(one)} arrays, {len(other)} arrays, {len(differing)} differ", *differing, sep="\n")
        sys.exit(1 if differing else 0)
