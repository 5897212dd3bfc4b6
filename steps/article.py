"""Makes the articles on monitoring: docs/blog/monitoring.md, docs/blog/suivi-en-production.md and their figures.

    make article

Every number in them is read from docs/blog/figures.json, which `make article-figures` records from real runs, or is a limit of the
code. Takes seconds.
"""

import json
from pathlib import Path

from steps.sentiment import article, command_line, folders
from steps.sentiment.command_line import Flags, InputError

BLOG = Path("docs/blog")


def flags() -> Flags:
    """Return the flags of this step."""
    return Flags("article", __doc__)


def main(argv: list[str] | None = None) -> None:
    """Write both articles and their figures, all of them or none."""
    flags().read(argv)
    stored = BLOG / article.FIGURES
    try:
        content = stored.read_text(encoding="utf-8")
        figures = json.loads(content)
    except (OSError, ValueError) as error:
        raise InputError(f"{stored}: {error}; needed: what `make article-figures` records") from error
    with folders.replaced(BLOG) as folder:
        (folder / article.FIGURES).write_text(content, encoding="utf-8")
        for language, name in article.ARTICLES.items():
            (folder / name).write_text(article.markdown(figures, language), encoding="utf-8")
            for image, figure in article.drawn(figures, language).items():
                figure.savefig(folder / f"{image}.png", dpi=120)
    print(f"article: {BLOG}/: {', '.join(article.ARTICLES.values())}")


if __name__ == "__main__":
    command_line.run(main, "article")
