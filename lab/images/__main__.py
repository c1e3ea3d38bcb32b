"""Entry point of `python3 -m lab.images [NAME...]`: prints the path of each archive."""

import argparse
import sys

from lab.errors import LabError
from lab.images.builds import NAMES, build


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m lab.images", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    arguments = parser.parse_args()
    try:
        for name in arguments.names or NAMES:
            print(build(name))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
