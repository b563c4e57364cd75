"""`python -m experiments.trials [NAME ...]`: run the named trials (default: all), keep their numbers in docs/trials.json."""

import argparse
import json
from pathlib import Path

import torch

from experiments.trials.augmentation import augmentation
from experiments.trials.confounders import confounders
from experiments.trials.places import places_of_features
from experiments.trials.training import SEEDS
from lattice.results.files import write_bytes

NUMBERS = Path(__file__).parents[2] / "docs" / "trials.json"
TRIALS = {"places": places_of_features, "confounders": confounders, "augmentation": augmentation}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m experiments.trials", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TRIALS))
    names = parser.parse_args().names
    if unknown := set(names) - set(TRIALS):
        parser.error(f"there is no trial {', '.join(sorted(unknown))}; there are {', '.join(TRIALS)}")
    torch.set_num_threads(1)
    content = json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.exists() else {}
    for name in names or TRIALS:
        content[name] = TRIALS[name]() | {"seeds": len(SEEDS)}
        write_bytes(NUMBERS, (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
        print(name)
