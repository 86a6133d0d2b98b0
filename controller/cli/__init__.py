"""``fenghuo …``: the operator's hands. Nothing is imported before it is needed; help is there at once."""

import sys


def main() -> int:
    """The console script. The exit codes are `controller.cli.outcome.Code`."""
    from controller.cli import words

    words.use(words.language(sys.argv[1:]))
    from controller.cli import program  # its help is worded when it is imported

    return program.run(sys.argv[1:])
