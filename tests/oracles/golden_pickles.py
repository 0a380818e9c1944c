"""Goldens: records of logits as Python and NumPy pickle them, in every protocol that q3c reads.

    python golden_pickles.py ../eval/pickles        # with NumPy 2, then once more with NumPy 1

Writes numpy<major>-p<protocol>.pkl. Needs numpy alone.
"""

import pickle
import sys
from pathlib import Path

import numpy as np

RECORDS = [
    {
        "prompt": "I love to 🙂",
        "formatted_prompt": "<|user|>I love to 🙂",
        "tokens": np.array([3, 0, 7]),
        "attention_mask": np.array([1, 1, 1]),
        "logits": np.array([[0.5, -1.25, 3e-5, 2], [-0.1, 100, -0.0, 12345678], [1, 2, 3, 4]], dtype=np.float32),
    },
    {
        "image_path": None,
        "pixels": [True, False, -1, 300, 70000, 1 << 40, -(1 << 70), 0.5, b"raw", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "nested": {"a": [], "b": {}, "scalar": np.float32(0.25), "flag": np.bool_(True)},
        "tokens": [1, 2],
        "attention_mask": np.array([[1, 1]], dtype=np.int32),
        "logits": np.asfortranarray(np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float64)),
        "prompt": "",
    },
    {"prompt": "half", "tokens": np.array([9], dtype=np.uint8), "logits": np.array([[1.5, -2.25, 6e-8]], dtype=np.float16)},
]

if __name__ == "__main__":
    major = np.__version__.split(".")[0]
    for protocol in (3, 4, 5):
        path = Path(sys.argv[1]) / f"numpy{major}-p{protocol}.pkl"
        path.write_bytes(pickle.dumps(RECORDS, protocol=protocol))
