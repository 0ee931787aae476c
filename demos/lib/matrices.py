"""Parts of the pages that are kept as files of their own, in pages/."""
from pathlib import Path


def part(name):
    """The text of a file in pages/."""
    return (Path(__file__).parent / "pages" / name).read_text(encoding="utf-8")
