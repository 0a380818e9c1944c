"""Frames that Zstandard's own library writes, for tests/checkpoint/zstd.test.ts.

    pip install zstandard    # 0.25
    python tests/oracles/zstd_golden.py > tests/checkpoint/zstd-goldens.json

Each entry is the frame in base64 and a SHA-256 of what it decodes to. The last ones repeat what lies almost as far back
as the window reaches, which is much less than all.
"""

import base64
import hashlib
import json
import random
import struct

import zstandard as zstd


def samples():
    draw = random.Random(1)
    yield "nothing", b""
    yield "one byte", b"x"
    yield "one byte repeated", b"\x07" * 300_000
    yield "random", draw.randbytes(700)
    words = [draw.randbytes(draw.randrange(1, 12)) for _ in range(60)]
    yield "words", b"".join(draw.choice(words) for _ in range(2000))
    yield "floats", b"".join(struct.pack("<f", draw.gauss(0, 0.02)) for _ in range(1200))
    yield "few letters", bytes(draw.choice(b"aaaaaaab") for _ in range(3000))
    yield "repeats far apart", (draw.randbytes(150) + bytes(50_000)) * 4


def main():
    out = {}
    draw = random.Random(2)
    for name, data in samples():
        for level in (1, 3, 19):
            plain = zstd.ZstdCompressor(level=level).compress(data)
            checked = zstd.ZstdCompressor(level=level, write_checksum=True, write_content_size=False).compress(data)
            for kind, frame in (("", plain), (", checksum and no size", checked)):
                out[f"{name}, level {level}{kind}"] = {
                    "frame": base64.b64encode(frame).decode(),
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "length": len(data),
                }
    for log in (10, 14, 17):
        window = 1 << log
        line = draw.randbytes(window // 32)
        gaps = (bytes(draw.randrange(window * 8 // 10, window * 9 // 10)) for _ in range(600_000 // window))
        data = b"".join(line + gap for gap in gaps)
        plain = zstd.ZstdCompressionParameters.from_level(19, window_log=log)
        frame = zstd.ZstdCompressor(compression_params=plain).compress(data)
        out[f"a window of 2^{log} bytes"] = {
            "frame": base64.b64encode(frame).decode(),
            "sha256": hashlib.sha256(data).hexdigest(),
            "length": len(data),
        }
    print(json.dumps(out, indent=1))


main()
