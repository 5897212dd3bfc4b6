"""The endpoint's description of itself agrees with the model's contract."""

import json
import re

from steps.sentiment import openapi
from steps.sentiment.model import Answer, Word


def test_a_record_is_described_as_the_model_answers_it() -> None:
    document = json.loads(openapi.page(7, 1234, True, ["3", "4", "3"]))
    schemas = document["components"]["schemas"]
    assert set(schemas["Answer"]["properties"]) == {*Answer.model_fields, "prediction_id"}
    assert set(schemas["Word"]["properties"]) == set(Word.model_fields)
    assert schemas["Question"]["properties"]["inputs"]["maxItems"] == 7
    assert "1,234 bytes" in json.dumps(document)
    assert document["components"]["parameters"]["Version"]["schema"]["enum"] == ["3", "4"]
    assert not re.search("MAX_|VERSIONS", json.dumps(document))


def test_a_key_is_spoken_of_only_where_one_is_asked_for() -> None:
    assert "401" in json.loads(openapi.page(7, 7, True, ["3"]))["paths"]["/invocations"]["post"]["responses"]
    open_one = openapi.page(7, 7, False, ["3"]).decode()
    assert '"401"' not in open_one
    assert "securitySchemes" not in open_one
