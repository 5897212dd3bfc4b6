"""What people said of answers -> the queue of wrong ones whose text may be looked at, as a dataset of a run.

    mlflow run . -e review --env-manager local -P events=captured.jsonl
    python -m steps.review --workspace 00000000-0000-0000-0000-000000000000 --hours 24

Reads events as `monitor` does, and adds to the queue of the newest finished run of this step (`previous`). Takes a tweet only when its
sender agreed that the text is kept (`keep` at `/feedback`), with handles and links masked. Leaves `review_queue.parquet` in a finished
run, logged as its input, versioned by a digest of the rows. Nothing trains on it: whoever has read it decides what becomes of it.
"""

from steps.sentiment import command_line, review_queue, runs, told, tracking
from steps.sentiment.command_line import Flags, one_of
from steps.sentiment.review_queue import QUEUE, Verdicts


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("review", __doc__)
    told.add_flags(flags)
    flags.flag(
        "previous", "newest", "queue to add to: newest (of the last finished run), none", one_of(("newest", "none"))
    )
    return flags


def main(argv: list[str] | None = None) -> None:
    """Read what was said, and log the queue."""
    given = flags().read(argv)
    verdicts = Verdicts()
    told.gather(given, verdicts, review_queue.SAID)
    earlier = runs.finished(step="review")[:1] if given.previous == "newest" else []
    before = review_queue.empty()
    for run in earlier:
        before = review_queue.read(runs.artifact(f"runs:/{run.info.run_id}/{QUEUE}", "previous"))
    queue, counts = verdicts.queue(before), verdicts.counts()
    digest = review_queue.digest(queue)
    with tracking.step("review", given.texts, digest) as run:
        tracking.log_metrics(counts.as_metrics() | {"queued": float(len(queue))})
        tracking.log_review_queue(queue, digest)
    print(
        f"review: {counts.judged:,} answers judged, {counts.wrong:,} wrong, {counts.kept:,} of them to be looked at; "
        f"{counts.contradicted:,} contradicted, {counts.repeated:,} said again, {counts.unknown:,} not among the predictions; "
        f"queue {digest} of {len(queue):,} (before: {len(before):,}): runs:/{run.info.run_id}/{QUEUE}"
    )


if __name__ == "__main__":
    command_line.run(main, "review")
