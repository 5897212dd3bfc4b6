"""Makes the slides of the results: docs/report/ with results.md, results.html and results.pdf.

    make report

Every figure is read from docs/results/evidence/ (`make evidence`), of the dataset with the newest training or the one named. Takes
seconds. The PDF is printed by Chromium; where there is none it is left out, since an older one would say something else.
"""

from pathlib import Path

from steps.sentiment import command_line, findings, folders, slides
from steps.sentiment.command_line import Flags, InputError

EVIDENCE = Path("docs/results/evidence")
REPORT = Path("docs/report")


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("report", __doc__)
    flags.flag("digest", "", "of the dataset whose models are shown; default: the one with the newest training")
    return flags


def main(argv: list[str] | None = None) -> None:
    """Write the slides, all of them or none."""
    given = flags().read(argv)
    try:
        models = findings.read(EVIDENCE, given.digest)
    except ValueError as error:
        raise InputError(f"digest={given.digest}: {error}") from error
    program = slides.browser()
    with folders.replaced(REPORT) as folder:
        text = slides.markdown(models, folder / "figures")
        (folder / "results.md").write_text(text, encoding="utf-8")
        (folder / "results.html").write_text(slides.page(text, folder), encoding="utf-8")
        if program:
            slides.print_page(program, folder / "results.html", folder / "results.pdf")
    made = "results.md, results.html, results.pdf" if program else "results.md, results.html; no PDF without Chromium"
    print(f"report: {REPORT}/: {made}")


if __name__ == "__main__":
    command_line.run(main, "report")
