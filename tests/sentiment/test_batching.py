"""Texts of concurrent requests in one thread: who is answered, with what, and in which order."""

import asyncio
import threading
import time
import weakref
from typing import Any

import pytest

from steps.sentiment import batching
from steps.sentiment.batching import Batches


class Model:
    """Answers each text with itself, and remembers the batches; `gate` holds it up."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], bool]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, texts: list[str], explain: bool) -> list[dict[str, Any]]:
        self.batches.append((texts, explain))
        self.gate.wait(10)
        if "poison" in texts:
            raise ValueError("a text that no model can take")
        return [{"text": text} for text in texts]


def said(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["text"] for answer in answers]


async def _started(model: Model) -> None:
    while not model.batches:
        await asyncio.sleep(0.001)


async def _gathered(model: Model, requests: list[list[str]]) -> list["asyncio.Task[list[dict[str, Any]]]"]:
    """Ask for `first` and, while its round lasts, for each of the requests; return all their tasks, that one's first."""
    batches = Batches(model)
    model.gate.clear()
    first = asyncio.create_task(batches.answer(["first"], False))
    await _started(model)
    others = [asyncio.create_task(batches.answer(texts, False)) for texts in requests]
    await asyncio.sleep(0.05)
    model.gate.set()
    return [first, *others]


def test_what_gathers_during_a_round_is_the_next_one() -> None:
    async def main() -> None:
        model = Model()
        first, *others = await _gathered(model, [[f"{number}a", f"{number}b"] for number in range(5)])
        assert said(await first) == ["first"]
        for number, other in enumerate(others):
            assert said(await other) == [f"{number}a", f"{number}b"]
        assert [len(texts) for texts, _ in model.batches] == [1, 10]

    asyncio.run(main())


def test_explained_texts_and_others_are_not_mixed() -> None:
    async def main() -> None:
        model = Model()
        batches = Batches(model)
        wishes = [False, True, False, True, True]
        found = await asyncio.gather(*(batches.answer([str(row)], wish) for row, wish in enumerate(wishes)))
        assert [said(answers) for answers in found] == [[str(row)] for row in range(5)]
        assert {(text, explain) for texts, explain in model.batches for text in texts} == {
            (str(row), wish) for row, wish in enumerate(wishes)
        }

    asyncio.run(main())


def test_a_long_request_lets_a_later_one_pass() -> None:
    async def main() -> None:
        order = []

        def slow(texts: list[str], explain: bool) -> list[dict[str, Any]]:
            time.sleep(0.001 * len(texts))
            return [{"text": text} for text in texts]

        batches = Batches(slow)

        async def ask(name: str, number: int) -> None:
            texts = [f"{name} {row}" for row in range(number)]
            assert said(await batches.answer(texts, False)) == texts
            order.append(name)

        await asyncio.gather(ask("long", 500), ask("short", 1), ask("middle", 60))
        assert order == ["short", "middle", "long"]

    asyncio.run(main())


def test_one_request_that_makes_the_model_fail_fails_alone() -> None:
    async def main() -> None:
        first, *others = await _gathered(Model(), [["a", "b"], ["c", "poison"], ["d"]])
        await first
        assert said(await others[0]) == ["a", "b"]
        with pytest.raises(ValueError, match="no model can take"):
            await others[1]
        assert said(await others[2]) == ["d"]

    asyncio.run(main())


def test_who_has_given_up_costs_no_further_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MOST", 4)

    async def main() -> None:
        model = Model()
        batches = Batches(model)
        model.gate.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await batches.answer([str(row) for row in range(100)], False)
        model.gate.set()
        assert said(await batches.answer(["next"], False)) == ["next"]
        assert sum(len(texts) for texts, _ in model.batches) <= 4 + 1

    asyncio.run(main())


def test_nothing_asked_is_answered_and_closing_answers_who_waits() -> None:
    async def main() -> None:
        model, others = Model(), set(threading.enumerate())
        batches = Batches(model)
        (scoring,) = set(threading.enumerate()) - others
        assert await batches.answer([], True) == []
        model.gate.clear()
        waiting = [asyncio.create_task(batches.answer([str(row)], False)) for row in range(3)]
        await _started(model)
        left: list[bool] = []
        gone = weakref.ref(model)
        batches.close(lambda: left.append(gone() is None))
        model.gate.set()
        del model
        assert [said(await one) for one in waiting] == [["0"], ["1"], ["2"]]
        scoring.join(10)
        assert not scoring.is_alive()
        assert left == [True]  # told when nothing of it holds the model any more, so that its memory can be freed

    asyncio.run(main())
