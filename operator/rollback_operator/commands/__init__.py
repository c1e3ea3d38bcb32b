"""The command line, one module a command: `add(commands)` adds its parser, `run` does its work.

None knows another; `__main__` lists them.
"""
