"""Seconds that pictologics takes for one region, run by the interpreter that has it (see extraction.py).

    python peer_pictologics.py IMAGE MASK REPEATS

The same image types (original, eight coif1 sub-bands, LoG 1, 2, 3 mm), 1 mm grid, bin width 25; each call from files to
feature values. Prints the seconds as a JSON list; the compilation at import and one warm-up are left out.
"""

from __future__ import annotations

import itertools
import json
import sys
import time

from pictologics import RadiomicsPipeline


def steps(chosen: dict[str, object] | None) -> list[dict[str, object]]:
    """One configuration: resample, filter, discretise, extract."""
    filtered = [] if chosen is None else [{"step": "filter", "params": chosen}]
    return [
        {"step": "resample", "params": {"new_spacing": (1.0, 1.0, 1.0), "interpolation": "cubic"}},
        *filtered,
        {"step": "discretise", "params": {"method": "FBS", "bin_width": 25.0, "min_val": -1000.0}},
        {"step": "extract_features", "params": {"families": ["intensity", "morphology", "texture", "histogram"]}},
    ]


def main() -> None:
    image, mask, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
    pipeline = RadiomicsPipeline()
    pipeline.add_config("original", steps(None))
    for sigma in (1.0, 2.0, 3.0):
        pipeline.add_config(f"log{sigma}", steps({"type": "log", "sigma_mm": sigma}))
    for band in itertools.product("LH", repeat=3):
        name = "".join(band)
        pipeline.add_config(name, steps({"type": "wavelet", "wavelet": "coif1", "level": 1, "decomposition": name}))
    names = ["original", "log1.0", "log2.0", "log3.0", *("".join(b) for b in itertools.product("LH", repeat=3))]
    pipeline.run(image=image, mask=mask, config_names=names)
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        pipeline.run(image=image, mask=mask, config_names=names)
        taken.append(time.perf_counter() - start)
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
