"""Syntax trees of source files."""

from __future__ import annotations

import ast
import gc


def parsed(source: str) -> ast.Module:
    """Parse a module, without a garbage collection meanwhile.

    Python 3.11 parses again to format a traceback (of a finalizer that fails, say), and then the
    outer parse ends with "AST constructor recursion depth mismatch".
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if was_enabled:
            gc.enable()
