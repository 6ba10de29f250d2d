"""Export the notebooks to the library as nbdev_export does, with every line of `__all__` within 120 characters.

    python tools/export_library.py        # in the project's folder; part of make export

nbdev wraps the list of names to 120 characters and then writes `__all__ = ` before it.
"""

from textwrap import TextWrapper

import nbdev.maker
from nbdev.doclinks import nbdev_export


def narrower(width, **settings):
    """A wrapper that leaves room for what nbdev writes before the first line."""
    return TextWrapper(width=width - len("__all__ = "), **settings)


def main():
    """Export every notebook."""
    nbdev.maker.TextWrapper = narrower
    nbdev_export()


if __name__ == "__main__": main()
