"""Streams of captured events, drifted and undrifted, and how many of them `monitor` raises; for record_article.py.

Not a test itself.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.sentiment import drift, reference
from tests.conftest import ROOT
from tests.sentiment.test_drift import FRENCH as SOME_FRENCH
from tests.sentiment.test_drift import LEVEL, PSI, profile_of
from tests.serving import PATIENCE, Ingestion, Server, ingestion, line_to, serve, wait_for
from tests.streams import gathered, read

MODEL = str(ROOT / "data/champion/model")
#: Invented: another language.
FRENCH = [
    *SOME_FRENCH,
    "deux heures de queue à l'enregistrement et un seul guichet ouvert",
    "Le commandant de bord a été adorable avec les enfants",
    "Toujours pas de nouvelles de mon bagage, ça fait quatre jours !!",
    "ce soir pizza et série, la vie est belle",
    "j'ai raté ma correspondance à cause de vous",
    "Franchement le siège côté hublot valait le supplément",
    "mal de tête depuis ce matin, vivement le week-end",
    "On vient d'atterrir à Nantes, quel soleil !",
    "personne au comptoir, personne au téléphone, bravo le service",
    "Merci pour le surclassement, je suis aux anges",
    "il pleut encore, j'en ai marre",
    "Les résultats sont tombés, j'ai mon diplôme !!!",
    "le wifi à bord ne marche pas et on nous le fait payer",
    "un grand merci à l'hôtesse du vol de 18h",
    "je dors debout, cette journée n'en finit pas",
    "Pourquoi changer la porte d'embarquement cinq minutes avant ?",
    "mon chat a encore mangé les plantes",
    "Première fois en avion pour ma fille, elle a adoré",
    "vous avez cassé la roue de ma valise et vous dites que c'est normal",
    "Quel match hier soir, j'en ai encore la voix cassée",
    "Le café de la gare est meilleur que celui de l'avion, c'est dire",
    "tu me manques, reviens vite",
    "Remboursement refusé, je n'en reviens pas",
    "vacances dans trois jours, je compte les heures",
    "Plus de jus, plus de tram, je rentre à pied",
    "Ponctuels, souriants, rien à redire",
]

TEXTS, SIZES, DRAWS, UNDRIFTED = 3000, (500, 1500), 50, 400
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)


def told_of(server: Server, service: Ingestion, texts: list[str], folder: Path) -> pd.DataFrame:
    """Ask an endpoint, and return what it told, in the order of the texts."""
    with service.lock:
        service.envelopes.clear()
    ids = [
        record["prediction_id"]
        for part in (texts[at : at + 100] for at in range(0, len(texts), 100))
        for record in server.ask(list(part))
    ]
    wait_for(lambda: set(ids) <= set(service.ids()), PATIENCE)
    with service.lock:
        lines = "\n".join(json.dumps(one) for one in service.envelopes if one["data"]["baseType"] == "EventData")
    (file := folder / "captured.jsonl").write_text(lines, encoding="utf-8")
    found = read([file]).predictions
    assert len(found) == len(texts)
    return found


def drifted() -> dict[str, Any]:
    """Streams of captured events, drifted in part or not at all: how many of them `monitor` raises."""
    sample = pd.read_csv(ROOT / "data/sample/tweets.csv").sample(TEXTS, random_state=0).reset_index(drop=True)
    texts, truth = sample["text"], sample["target"] // 4
    to_an_airline = texts.str.contains(r"(?i)@\w*(?:air|jet|wing|fly)")
    shouted = texts[:400].str.upper()
    with tempfile.TemporaryDirectory() as name, ingestion() as service:
        folder = Path(name)
        flags = ["--model", MODEL, "--telemetry_cache", str(folder / "cache"), "--timeout", str(PATIENCE)]
        with serve(folder, folder, *flags, patience=PATIENCE, **line_to(service.connection_string)) as server:
            told = told_of(server, service, texts.tolist(), folder).assign(expected=truth)
            capitals = told_of(server, service, shouted.tolist(), folder).assign(expected=truth[:400])
            french = told_of(server, service, FRENCH, folder)
    pools = {"airline": told[to_an_airline], "capitals": capitals, "french": french, "flipped": None}
    found: dict[str, Any] = {
        "texts": TEXTS,
        "draws": DRAWS,
        "undrifted_draws": UNDRIFTED,
        "level": LEVEL,
        "psi": PSI,
        "fewest": reference.FEWEST,
        "fewest_wrong": drift.FEWEST_WRONG,
        "accuracy": float((told["label"] == told["expected"]).mean()),
        "pools": {kind: len(pool) for kind, pool in pools.items() if pool is not None},
        "undrifted": {},
        "drifted": {},
        "first": {},
    }

    def result(size: int, seed: int, kind: str = "", share: float = 0) -> drift.Result:
        dice = np.random.default_rng(seed)
        order = dice.permutation(len(told))
        stream, others = told.iloc[order[:size]].reset_index(drop=True), told.iloc[order[size:]]
        changed = dice.permutation(size) < round(share * size)
        if kind == "flipped":
            stream["expected"] = np.where(changed, 1 - stream["expected"], stream["expected"])
        elif kind:
            drawn = pools[kind].sample(int(changed.sum()), replace=True, random_state=seed)
            stream = pd.concat([stream[~changed], drawn], ignore_index=True)
        profile = profile_of(others)
        return drift.judge(profile, "3", gathered(stream.drop(columns="model_version"), stream["expected"]), LEVEL, PSI)

    for size in SIZES:
        results = [result(size, seed) for seed in range(UNDRIFTED)]
        found["undrifted"][str(size)] = {
            "raised": sum(bool(one.drifted) for one in results),
            "by": sorted({finding.feature for one in results for finding in one.drifted}),
            "significant": sum(any(finding.p_value < LEVEL for finding in one.findings) for one in results),
        }
        print(size, found["undrifted"][str(size)], flush=True)
        found["drifted"][str(size)] = {}
        for kind in pools:
            rows = {str(share): [result(size, seed, kind, share) for seed in range(DRAWS)] for share in SHARES}
            found["drifted"][str(size)][kind] = {
                share: sum(bool(one.drifted) for one in results) for share, results in rows.items()
            }
            first = rows[str(SHARES[-1])][0].drifted
            found["first"].setdefault(str(size), {})[kind] = first[0].feature if first else ""
            print(size, kind, found["drifted"][str(size)][kind], flush=True)
    return found
