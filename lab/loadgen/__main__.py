"""`python3 -m lab.loadgen FLAGS...`: the load generator itself, built first where needed."""

import os
import sys

from lab.errors import LabError
from lab.loadgen.load import program

if __name__ == "__main__":
    try:
        path = program()
    except LabError as error:
        sys.exit(f"lab: {error}")
    os.execv(path, [str(path), *sys.argv[1:]])
