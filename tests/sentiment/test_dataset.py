"""What a prepared dataset promises: text kept, rows counted, splits apart and stable, written whole or not at all."""

import errno
import html
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.sentiment import dataset, sources
from steps.sentiment.command_line import InputError
from steps.sentiment.dataset import Options, Prepared, fold, prepare, repair
from steps.sentiment.sources import COLUMNS, Raw


def raw(rows: pd.DataFrame, human: pd.DataFrame | None = None) -> Raw:
    tweets = rows.reindex(columns=list(COLUMNS)).reset_index(drop=True).astype({"date": "datetime64[ns]"})
    return Raw(tweets, Counter(), None if human is None else human.copy())


def of(texts: list[str], targets: list[int], **columns: list[str | None]) -> pd.DataFrame:
    return pd.DataFrame({"text": texts, "target": targets, **columns})


def tweets(rows: int, users: int = 0, seed: int = 0) -> pd.DataFrame:
    """Make `rows` different tweets, by `users` authors if any, a third of them in the sample `random`."""
    random = np.random.default_rng(seed)
    frame = of([f"tweet no {row} of the day" for row in range(rows)], [4 * (row % 2) for row in range(rows)])
    frame["sample"] = random.choice(["random", "edge", "rest"], rows)
    if users:
        frame["user"] = [f"author{author}" for author in random.integers(0, users, rows)]
    return frame


def side(prepared: Prepared, split: str) -> set[str]:
    return set(prepared.tweets.loc[prepared.tweets["split"] == split, "text"])


# Repair


@pytest.mark.parametrize(
    ("read", "kept"),
    [
        ("fish &amp; chips", "fish & chips"),
        ("i &lt;3 you &quot;Sid&quot;", 'i <3 you "Sid"'),
        ("so &amp;lt;3 &amp;amp; glad", "so <3 & glad"),
        ("it&#39;s 5&#x2F;5", "it's 5/5"),
        ("a cafÃ© by the sea", "a café by the sea"),
        ("i â\x99¥ soup", "i ♥ soup"),
        ("itâ€™s raining", "it’s raining"),
        ("naÃ¯ve ðŸ˜€", "naïve 😀"),
        ("  spaces around\n", "spaces around"),
    ],
)
def test_repair_undoes_entities_and_wrong_decoding(read, kept):
    assert repair(read) == kept


@pytest.mark.parametrize(
    "text",
    [
        "I do NOT like this... at ALL!!! :( #fail",
        "so “curly” and ‘single’, it’s mine",
        "love 😂😂 👩‍👩‍👧 ❤️ 🇳🇴 👍🏽",
        "ﬁne ligature, ｆｕｌｌ width, ½ and …",
        "@someone look: http://a.example/b?c=1&d=2 <3 >:(",
        "ça va très bien, à bientôt",
        "это мой день, 我很高兴, أنا سعيد",
        "R&D, AT&T, black&white & fish&chips",
        "its you &not me",
        "soooo   many    spaces",
    ],
)
def test_repair_leaves_alone_what_the_author_typed(text):
    assert repair(text) == text


@given(st.text())
def test_repair_takes_any_text_and_leaves_no_space_around(text):
    repaired = repair(text)
    assert repaired == repaired.strip()


@given(st.text(st.sampled_from("ab <>&\"';#é♥😀"), max_size=30), st.integers(1, 3))
def test_repair_undoes_escaping_of_any_depth(text, depth):
    escaped = text
    for _ in range(depth):
        escaped = html.escape(escaped)
    assert repair(escaped) == repair(text)


@given(st.text(st.sampled_from("abc éüñ♥😀’“"), max_size=30))
def test_repair_undoes_a_wrong_decoding_of_plain_words(text):
    once = f"très “bon” {text} ♥".encode().decode("latin-1")
    assert repair(once) == repair(f"très “bon” {text} ♥")


# Folding

PIECES = ["http://a.example/x", "https://b.example", "www.c.example", "@oda", "@", "So", "glad", "#tag", "!", "é"]
PHRASE = st.lists(st.sampled_from(PIECES), max_size=8).map(" ".join)


def test_fold_masks_users_and_links_and_folds_case_and_space():
    assert fold("  @Oda  LOOK http://a.example/Q now") == fold("@sid look https://b.example/r?s  NOW ")
    assert fold("so glad") != fold("so glad!")
    assert fold("so glad") != fold("so glad :)")
    assert fold("#glad") != fold("glad")


@given(PHRASE)
def test_fold_is_the_same_for_any_case_of_letters(text):
    for other in (text.upper(), text.title(), text.swapcase()):
        assert fold(other) == fold(text)


@given(
    st.one_of(PHRASE, st.text(st.characters(max_codepoint=0x17F, exclude_characters="\u0130")), PHRASE.map(str.title))
)
def test_fold_is_idempotent(text):
    assert fold(fold(text)) == fold(text)


# Rows


def test_repeated_and_contradictory_texts_are_dropped_and_counted():
    rows = pd.concat(
        [
            tweets(40),
            of(["Same thing", "same  THING", "@a same thing", "@b same thing"], [4, 4, 0, 0]),
            of(["torn apart", "Torn Apart", "torn apart"], [0, 4, 4]),
            of(["see http://a.example/1 now", "see http://a.example/2 now"], [0, 4]),
        ]
    )
    prepared = prepare(raw(rows), Options())
    assert prepared.counts["rows read"] == 49
    assert prepared.counts["dropped: text with both labels"] == -5
    assert prepared.counts["dropped: repeated text"] == -2
    kept = set(prepared.tweets["text"])
    assert len(kept & {"Same thing", "same  THING"}) == 1
    assert len(kept & {"@a same thing", "@b same thing"}) == 1
    assert not any("torn" in text.lower() or "http" in text for text in kept)
    assert len(prepared.tweets) == 42
    assert sum(prepared.counts[f"{split} rows"] for split in dataset.SPLITS) == 42


def test_counts_add_up():
    rows = pd.concat([tweets(200, users=30), of(["&nbsp;", "neutral one"], [0, 2]), tweets(50)])
    source = raw(rows)
    source.bad["a null or empty text"] = 3
    prepared = prepare(source, Options(holdout=("sample", "random"), test_rows=10, validation_rows=10, max_rows=50))
    stages = {
        name: count for name, count in prepared.counts.items() if name == "rows read" or name.startswith("dropped")
    }
    assert prepared.counts["rows read"] == 255
    assert sum(stages.values()) == len(prepared.tweets)
    assert prepared.counts["dropped: a null or empty text"] == -3
    assert prepared.counts["dropped: neutral"] == -1
    assert prepared.counts["dropped: empty after repair"] == -1
    assert prepared.counts["dropped: author also in test or validation"] < 0
    assert prepared.counts["train rows"] == 50


def test_labels_and_columns():
    prepared = prepare(raw(tweets(60)), Options())
    assert prepared.tweets.columns.tolist() == ["text", "label", "split", "sample"]
    assert set(prepared.tweets["label"]) == {0, 1}
    expected = {text: target // 4 for text, target in zip(tweets(60)["text"], tweets(60)["target"], strict=True)}
    assert dict(zip(prepared.tweets["text"], prepared.tweets["label"], strict=True)) == expected
    without = prepare(raw(tweets(60).drop(columns="sample")), Options())
    assert without.tweets.columns.tolist() == ["text", "label", "split"]


def test_the_later_half_of_the_dated_test_rows_is_marked_and_nothing_else():
    rows = tweets(60).assign(date=pd.date_range("2009-04-06", periods=60).where(np.arange(60) % 3 > 0))
    found = prepare(raw(rows), Options()).tweets
    assert found.columns.tolist() == ["text", "label", "split", "sample", "late"]
    test = found[found["split"] == "test"].merge(rows[["text", "date"]], on="text")
    dated = test.dropna(subset=["date"])
    assert 0 < len(dated) < len(test)
    assert (dated["late"] == (dated["date"] > dated["date"].median())).all()
    assert 0 < dated["late"].sum() < len(dated)
    assert test.loc[test["date"].isna(), "late"].isna().all()
    assert found.loc[found["split"] != "test", "late"].isna().all()


def test_dates_change_neither_digest_nor_splits_and_only_the_test_is_told_of_them(tmp_path):
    dated = prepare(raw(tweets(60).assign(date=pd.date_range("2009-04-06", periods=60))), Options())
    plain = prepare(raw(tweets(60)), Options())
    assert dated.digest == plain.digest
    assert dated.tweets.drop(columns="late").equals(plain.tweets)
    folder = dataset.write(tmp_path, {}, dated, {"source": "toy"})
    read = dataset.load(folder, "")
    assert read.split("train").columns.tolist() == read.split("validation").columns.tolist() == ["text", "label"]
    assert read.split("test").columns.tolist() == ["text", "label", "late"]
    folder = dataset.write(tmp_path, {}, plain, {"source": "toy"})
    assert dataset.load(folder, "").split("test").columns.tolist() == ["text", "label"]


def test_parquet_with_numbers_as_sample_and_user(tmp_path):
    rows = tweets(60).assign(sample=[row // 2 % 2 for row in range(60)], user=range(60))
    rows.to_parquet(tmp_path / "tweets.parquet")
    options = Options(holdout=("sample", "1"), test_rows=10, validation_rows=10)
    prepared = prepare(sources.read(tmp_path / "tweets.parquet"), options)
    assert prepared.counts["test rows"] == 10
    assert set(prepared.tweets.loc[prepared.tweets["split"] == "test", "sample"]) == {"1"}


def test_parquet_with_categories_as_sample_and_user(tmp_path):
    rows = pd.concat([tweets(60, users=20), tweets(60).assign(text=lambda frame: "more " + frame["text"])])
    rows = rows.reset_index(drop=True)
    rows.astype({"sample": "category", "user": "category"}).to_parquet(tmp_path / "tweets.parquet")
    prepared = prepare(sources.read(tmp_path / "tweets.parquet"), Options())
    assert prepared.digest == prepare(raw(rows), Options()).digest


# Splits


@pytest.mark.parametrize("users", [0, 40, 400])
@pytest.mark.parametrize("holdout", [None, ("sample", "random")])
def test_test_and_validation_have_exactly_the_rows_asked_for(users, holdout):
    options = Options(holdout=holdout, test_rows=40, validation_rows=30)
    prepared = prepare(raw(tweets(600, users=users)), options)
    assert prepared.counts["test rows"] == 40
    assert prepared.counts["validation rows"] == 30


def test_shares_are_of_the_rows_drawn_from():
    rows = tweets(600)
    random = int((rows["sample"] == "random").sum())
    prepared = prepare(raw(rows), Options(holdout=("sample", "random"), test_rows=0.25, validation_rows=0.1))
    assert prepared.counts["test rows"] == round(0.25 * random)
    assert prepared.counts["validation rows"] == round(0.1 * random)
    assert prepared.counts["train rows"] == 600 - round(0.25 * random) - round(0.1 * random)


@pytest.mark.parametrize("holdout", [None, ("sample", "random")])
def test_no_text_and_no_known_user_stands_in_two_splits(holdout):
    rows = pd.concat(
        [tweets(600, users=60), tweets(300, seed=1).assign(text=lambda frame: "anonymous " + frame["text"])]
    )
    repeated = rows.sample(200, random_state=0).assign(text=lambda frame: frame["text"].str.upper(), user=None)
    rows = pd.concat([rows, repeated], ignore_index=True)
    prepared = prepare(raw(rows), Options(holdout=holdout, test_rows=50, validation_rows=50))
    split_of = prepared.tweets.assign(folded=prepared.tweets["text"].map(fold))
    assert split_of["folded"].is_unique
    known = rows.dropna(subset=["user"]).assign(folded=lambda frame: frame["text"].map(fold))
    joined = split_of.merge(known[["folded", "user"]], on="folded")
    assert len(joined) > 300
    assert (joined.groupby("user")["split"].nunique() == 1).all()
    assert set(joined["split"]) == set(dataset.SPLITS)


def test_author_of_a_held_out_row_leaves_the_training_rows():
    rows = tweets(100).assign(user=[f"author{row}" for row in range(100)])
    held = rows.loc[rows["sample"] == "random"].assign(text=lambda frame: "another " + frame["text"], sample="rest")
    options = Options(holdout=("sample", "random"), test_rows=10, validation_rows=10)
    prepared = prepare(raw(pd.concat([rows, held])), options)
    taken = side(prepared, "test") | side(prepared, "validation")
    assert len(taken) == 20
    assert prepared.counts["dropped: author also in test or validation"] == -20
    assert not {f"another {text}" for text in taken} & side(prepared, "train")


def test_holdout_rows_alone_make_test_and_validation():
    rows = tweets(300)
    options = Options(holdout=("sample", "random"), test_rows=20, validation_rows=20)
    splits = prepare(raw(rows), options).tweets.groupby("split")["sample"].unique()
    assert set(splits["test"]) == set(splits["validation"]) == {"random"}
    assert set(splits["train"]) == {"random", "edge", "rest"}


def test_splits_depend_on_the_seed():
    one, same, other = (prepare(raw(tweets(300)), Options(seed=seed)) for seed in (0, 0, 1))
    assert side(one, "test") == side(same, "test")
    assert side(one, "test") != side(other, "test")
    assert one.digest == same.digest != other.digest


def test_splits_do_not_follow_label_or_row_order():
    prepared = prepare(raw(tweets(2000)), Options())
    shares = prepared.tweets.groupby("split")["label"].mean()
    assert shares.between(0.4, 0.6).all()
    numbers = prepared.tweets["text"].str.extract(r"(\d+)")[0].astype(int)
    assert (numbers.groupby(prepared.tweets["split"]).mean() - 1000).abs().max() < 150


@pytest.mark.parametrize("users", [0, 300])
@pytest.mark.parametrize("rows", [100, 0.1])
def test_when_data_grows_nothing_that_was_trained_on_is_tested_on(users, rows):
    options = Options(test_rows=rows, validation_rows=rows)
    before, after = tweets(1000, users), tweets(1000, users)
    more = tweets(150, users, seed=5).assign(text=lambda frame: "later " + frame["text"])
    old, new = prepare(raw(before), options), prepare(raw(pd.concat([after, more])), options)
    assert not side(old, "train") & side(new, "test")
    assert len(side(old, "test") & side(new, "test")) > 60
    assert len(side(old, "train") & side(new, "train")) > 700


def test_repetition_of_a_text_changes_no_side():
    rows = tweets(400)
    louder = rows.sample(100, random_state=3).assign(text=lambda frame: frame["text"].str.upper())
    one, other = prepare(raw(rows), Options()), prepare(raw(pd.concat([louder, rows])), Options())
    for split in dataset.SPLITS:
        assert {fold(text) for text in side(one, split)} == {fold(text) for text in side(other, split)}


def test_fewer_training_rows_are_a_subset_and_change_nothing_else():
    small, large = (prepare(raw(tweets(400, users=100)), Options(max_rows=rows)) for rows in (50, 120))
    everything = prepare(raw(tweets(400, users=100)), Options())
    assert side(small, "train") < side(large, "train") < side(everything, "train")
    assert (len(side(small, "train")), len(side(large, "train"))) == (50, 120)
    assert side(small, "test") == side(large, "test") == side(everything, "test")
    assert side(small, "validation") == side(everything, "validation")


def test_human_labelled_texts_are_taken_out_of_the_other_splits():
    human = of(["TWEET no 7  of the day", "tweet no 8 of the &amp; day", "served at noon"], [4, 0, 2])
    prepared = prepare(raw(tweets(100), human), Options())
    assert prepared.counts["dropped: text of the human-labelled test"] == -1
    assert "tweet no 7 of the day" not in set(prepared.tweets["text"])
    assert prepared.human_test is not None
    assert prepared.human_test["text"].tolist() == [
        "TWEET no 7  of the day",
        "tweet no 8 of the & day",
        "served at noon",
    ]
    assert prepared.human_test["neutral"].tolist() == [False, False, True]


# Refusals


@pytest.mark.parametrize(
    ("rows", "options", "reason"),
    [
        (tweets(50).assign(target=4), Options(), "only one class"),
        (tweets(50).assign(target=2), Options(), "only one class"),
        (tweets(50), Options(test_rows=51), "test_rows=51"),
        (tweets(50), Options(test_rows=25, validation_rows=25), "validation_rows=25"),
        (tweets(50), Options(test_rows=0.001), "test_rows=0.001"),
        (tweets(50), Options(test_rows=0.6, validation_rows=0.6), "test_rows=0.6"),
        (tweets(50), Options(test_rows=1), "the test split has 1 rows"),
        (tweets(50), Options(max_rows=1), "the train split has 1 rows"),
        (tweets(50), Options(holdout=("place", "Oslo")), "no column 'place'; allowed: sample"),
        (tweets(50), Options(holdout=("text", "tweet no 1")), "no column 'text'"),
        (tweets(50), Options(holdout=("user", "oda")), "no column 'user'"),
        (tweets(50), Options(holdout=("sample", "oslo")), "no row has this value; allowed: "),
        (tweets(50).drop(columns="sample"), Options(holdout=("sample", "edge")), "none in this file"),
    ],
)
def test_what_cannot_be_split_is_refused_in_one_line(rows, options, reason):
    with pytest.raises(InputError) as caught:
        prepare(raw(rows), options)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_holdout_of_an_unknown_author_names_no_author():
    with pytest.raises(InputError) as caught:
        prepare(raw(tweets(50, users=10)), Options(holdout=("user", "nobody")))
    assert "author" not in str(caught.value).replace("holdout=user=nobody", "")


# Digest


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("holdout", [None, ("sample", "random")])
def test_digest_does_not_depend_on_row_order(seed, holdout):
    rows = pd.concat(
        [
            tweets(150, users=30),
            tweets(60, seed=3).assign(text=lambda frame: frame["text"].str.upper()),
            tweets(60, users=9, seed=4),
        ]
    )
    options = Options(holdout=holdout, test_rows=15, validation_rows=15, max_rows=90)
    one, other = prepare(raw(rows), options), prepare(raw(rows.sample(frac=1, random_state=seed)), options)
    assert one.digest == other.digest
    pd.testing.assert_frame_equal(one.tweets, other.tweets)


def test_digest_does_not_depend_on_which_sample_a_repeated_text_is_read_from_first():
    rows = pd.concat([tweets(60).assign(sample="random"), tweets(60).assign(sample="rest")])
    rows = pd.concat([rows, tweets(80, seed=1).assign(text=lambda frame: "more " + frame["text"])])
    options = Options(holdout=("sample", "random"), test_rows=10, validation_rows=10)
    assert prepare(raw(rows), options).digest == prepare(raw(rows.iloc[::-1]), options).digest


def test_digest_changes_with_a_text_a_label_a_split_and_the_human_labelled_test():
    human = of(["quite good", "quite bad"], [4, 0])
    changed_text, changed_label = tweets(100), tweets(100)
    changed_text.loc[5, "text"] += "!"
    changed_label.loc[5, "target"] = 4 - changed_label.loc[5, "target"]
    digests = [
        prepare(raw(tweets(100)), Options()).digest,
        prepare(raw(changed_text), Options()).digest,
        prepare(raw(changed_label), Options()).digest,
        prepare(raw(tweets(100)), Options(test_rows=21)).digest,
        prepare(raw(tweets(100), human), Options()).digest,
        prepare(raw(tweets(100), human.assign(target=[0, 4])), Options()).digest,
    ]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in digests)


def test_digest_is_pinned_for_all_machines():
    assert prepare(raw(tweets(40).drop(columns="sample")), Options()).digest == "cf778f8b7864875f"


# Writing


def written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


MANIFEST = {"source": "a source", "parameters": {"seed": "0"}}


def test_a_written_dataset_reads_back(tmp_path):
    human = of(["quite good", "quite bad", "quite"], [4, 0, 2])
    prepared = prepare(raw(tweets(100), human), Options())
    folder = dataset.write(tmp_path / "processed", {"profile.json": "{}", "note.txt": "né"}, prepared, MANIFEST)
    assert folder == tmp_path / "processed" / prepared.digest
    assert set(written(folder)) == {"tweets.parquet", "human_test.parquet", "dataset.json", "profile.json", "note.txt"}
    assert (folder / "note.txt").read_text(encoding="utf-8") == "né"
    manifest = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert manifest["digest"] == prepared.digest
    assert manifest["counts"] == prepared.counts
    found = dataset.load(folder, "some uri")
    assert (found.digest, found.source, found.uri) == (prepared.digest, "a source", "some uri")
    for split in dataset.SPLITS:
        expected = prepared.tweets[prepared.tweets["split"] == split]
        assert found.split(split)["text"].tolist() == expected["text"].tolist()
        assert found.split(split)["label"].tolist() == expected["label"].tolist()
        assert found.split(split).columns.tolist() == ["text", "label"]
    assert found.split("train", 7)["text"].tolist() == found.split("train")["text"].tolist()[:7]
    rows = found.human_test()
    assert rows is not None
    assert rows.to_dict("list") == {"text": ["quite good", "quite bad"], "label": [1, 0]}


def test_a_dataset_without_human_labels_has_none(tmp_path):
    folder = dataset.write(tmp_path, {}, prepare(raw(tweets(50)), Options()), MANIFEST)
    assert dataset.load(folder, "uri").human_test() is None


def test_writing_again_replaces_the_folder(tmp_path):
    prepared = prepare(raw(tweets(50)), Options())
    dataset.write(tmp_path, {"note.txt": "old", "gone.txt": ""}, prepared, MANIFEST)
    folder = dataset.write(tmp_path, {"note.txt": "new"}, prepared, MANIFEST)
    assert [path.name for path in tmp_path.iterdir()] == [prepared.digest]
    assert (folder / "note.txt").read_text(encoding="utf-8") == "new"
    assert not (folder / "gone.txt").exists()


@pytest.mark.parametrize(("owner", "method"), [(pd.DataFrame, "to_parquet"), (Path, "write_text"), (Path, "mkdir")])
@pytest.mark.parametrize("before", [False, True])
def test_a_full_disk_leaves_nothing_half_written_and_the_old_dataset_whole(
    tmp_path, monkeypatch, owner, method, before
):
    prepared = prepare(raw(tweets(50)), Options())
    if before:
        dataset.write(tmp_path, {"note.txt": "old"}, prepared, MANIFEST)
    old = written(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(owner, method, full_disk)
        with pytest.raises(OSError, match="No space left"):
            dataset.write(tmp_path, {"note.txt": "new"}, prepared, MANIFEST)
    assert written(tmp_path) == old
    assert [path.name for path in tmp_path.iterdir()] == ([prepared.digest] if before else [])


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failure_while_replacing_keeps_the_old_dataset_in_its_place(tmp_path, monkeypatch, failing):
    prepared = prepare(raw(tweets(50)), Options())
    dataset.write(tmp_path, {"note.txt": "old"}, prepared, MANIFEST)
    old, real, calls = written(tmp_path), Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == failing:
            full_disk()
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        with pytest.raises(OSError, match="No space left"):
            dataset.write(tmp_path, {"note.txt": "new"}, prepared, MANIFEST)
    assert written(tmp_path) == old


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a prepared dataset") as caught:
        dataset.load(tmp_path, "some uri")
    assert "dataset=some uri" in str(caught.value)
    (tmp_path / "dataset.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError):
        dataset.load(tmp_path, "some uri")


@pytest.mark.parametrize("name", ["tweets.parquet", "human_test.parquet"])
@pytest.mark.parametrize(
    "damage", [lambda content: content[:500], lambda content: content[:-9] + b"x" + content[-8:], None]
)
def test_tweets_that_are_not_as_prepared_are_refused(tmp_path, name, damage):
    prepared = prepare(raw(tweets(50), of(["quite good", "quite bad"], [4, 0])), Options())
    folder = dataset.write(tmp_path, {}, prepared, MANIFEST)
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage:
        (folder / name).write_bytes(damage(content))
    with pytest.raises(InputError, match="dataset=some uri: "):
        dataset.load(folder, "some uri")


def test_other_labels_under_an_old_digest_are_refused(tmp_path):
    folder = dataset.write(tmp_path, {}, prepare(raw(tweets(50)), Options()), MANIFEST)
    rows = pd.read_parquet(folder / "tweets.parquet")
    rows.assign(label=1 - rows["label"]).to_parquet(folder / "tweets.parquet", index=False)
    with pytest.raises(
        InputError, match=r"dataset=some uri: tweets\.parquet is not as it was prepared; run prepare again"
    ):
        dataset.load(folder, "some uri")


@pytest.mark.parametrize("text", ["{", "{}", '{"digest": "0123", "source": "before hashes were kept"}'])
def test_a_damaged_or_older_manifest_is_told(tmp_path, text):
    folder = dataset.write(tmp_path, {}, prepare(raw(tweets(50)), Options()), MANIFEST)
    (folder / "dataset.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"dataset=some uri: dataset\.json is damaged, or of an older version"):
        dataset.load(folder, "some uri")
