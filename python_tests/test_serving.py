# SPDX-License-Identifier: MIT
"""The service as callers see it: predictions, changes, and what it says about itself."""

import base64
import hashlib
import json
import re
import threading

import numpy as np
import pytest
from serving_cases import (
    as_body,
    as_form,
    as_json,
    as_tensorflow_serving,
    base64_of,
    encoded,
    of_json,
    picture,
    png,
    small_set,
)

from fslcore.classifier import saving
from fslcore.serving import schemas

GOOD = png(0)


# ---- predictions


@pytest.mark.parametrize("form", [as_body, as_form, as_json, as_tensorflow_serving])
def test_every_form_of_a_request_has_the_same_answer(service, form):
    answer = service.predict(form(png(0)))
    assert answer.status == 200
    assert answer.json == {
        "predictions": [
            {
                "label": "corner",
                "scores": [{"label": "corner", "score": -1.0, "probability": None}],
                "nearest": [],
                "measure": None,
                "is_distance": None,
                "picture": None,
            }
        ],
        "version": 3,
    }


def test_labels_scores_and_probabilities_are_those_of_the_set(service):
    answer = service.predict(as_form(png(0, 1), png(2), png(4)), "?top=5&probabilities=true").json
    scores = np.array([[0.0, -3.0, -2.5], [-3.0, 0.0, -1.5], [-3.0, -2.0, -0.5]])
    names = ["corner", 7, "two"]
    for prediction, row in zip(answer["predictions"], scores, strict=True):
        order = np.argsort(-row)
        chances = np.exp(row) / np.exp(row).sum()
        assert [each["label"] for each in prediction["scores"]] == [names[i] for i in order]
        assert [each["score"] for each in prediction["scores"]] == row[order].tolist()
        np.testing.assert_allclose(
            [each["probability"] for each in prediction["scores"]], chances[order], rtol=1e-6
        )
    assert [each["label"] for each in answer["predictions"]] == names


def test_the_nearest_pictures_come_with_their_values(service):
    [told] = service.predict(as_body(png(4)), "?nearest=2").json["predictions"]
    assert (told["measure"], told["is_distance"]) == ("sqeuclidean", True)
    assert [(each["label"], each["number"], each["value"]) for each in told["nearest"]] == [
        ("two", 2, 0.0),
        (7, 1, 2.0),
    ]
    shown = told["picture"], told["nearest"][0]["picture"]
    for data in shown:
        assert data.startswith("data:image/png;base64,")
        assert base64.b64decode(data.partition(",")[2]) == png(4)


def test_below_the_threshold_the_label_is_null_and_the_scores_stay(serve):
    support = small_set()
    support.threshold = -1.0
    client = serve(support)
    known, unknown = client.predict(as_form(png(0), png(10, 11))).json["predictions"]
    assert known["label"] == "corner"
    assert unknown["label"] is None
    assert unknown["scores"] == [{"label": "two", "score": -2.5, "probability": None}]
    assert 'fslcore_predictions_total{answer="unknown"} 1.0' in client.get("/metrics").text


def test_large_pictures_are_prepared_as_the_set_does(service):
    large = np.kron(picture(0, 1), np.ones((200, 200), np.uint8))  # 640,000 pixels: decoded beside the batch
    support = small_set()
    ((label,), (score,)) = support.predict(large)
    [told] = service.predict(as_body(encoded(large))).json["predictions"]
    assert told["scores"] == [{"label": label, "score": score, "probability": None}]
    assert -1 < score < 0  # resized, so not the picture itself


# ---- changes


def saved(folder):
    state, _ = saving.read(folder / "set")
    return dict(zip(state.labels, state.counts.tolist(), strict=True))


def test_every_change_is_on_the_disk_when_it_is_answered(serve, tmp_path):
    client = serve()
    first = {"corner": 1, 7: 1, "two": 2}
    assert saved(tmp_path) == first
    steps = [
        ("POST", "/v1/labels?label=new", as_form(png(8), png(9)), {**first, "new": 2}),
        ("POST", "/v1/labels?number=7", as_body(png(3)), {**first, 7: 2, "new": 2}),
        ("POST", "/v1/labels?label=7", as_body(png(3)), {**first, 7: 2, "new": 2, "7": 1}),
        ("PUT", "/v1/labels", of_json({"label": 7, "images": [base64_of(3)]}), {**first, "new": 2, "7": 1}),
        ("DELETE", "/v1/labels?label=7", {}, {**first, "new": 2}),
        ("DELETE", "/v1/labels?number=7", {}, {"corner": 1, "two": 2, "new": 2}),
    ]
    for i, (method, url, body, counts) in enumerate(steps):
        answer = client.ask(method, url, **body)
        assert answer.status == 200, answer.text
        assert answer.json["version"] == 4 + i
        assert answer.json["pictures"] == sum(counts.values())
        assert saved(tmp_path) == counts
    listed = client.get("/v1/labels").json["labels"]
    assert {each["label"]: each["count"] for each in listed} == counts


def test_several_labels_are_one_change(serve, tmp_path):
    client = serve()
    labels = [{"label": "a", "images": [base64_of(8)]}, {"label": 1, "images": [base64_of(9), base64_of(10)]}]
    answer = client.ask("POST", "/v1/update", **of_json({"labels": labels})).json
    assert (answer["count"], answer["total"], answer["version"]) == (3, 5, 4)
    assert saved(tmp_path) == {"corner": 1, 7: 1, "two": 2, "a": 1, 1: 2}


def test_labels_are_listed_in_parts_with_their_pictures(service):
    part = service.get("/v1/labels?pictures=1&start=1&limit=1").json
    assert part["labels"] == [{"label": 7, "count": 1, "pictures": ["data:image/png;base64," + base64_of(2)]}]
    assert (part["total"], part["matching"], part["pictures"], part["paper"]) == (3, 3, 4, "black")
    assert [each["label"] for each in service.get("/v1/labels?containing=TWO").json["labels"]] == ["two"]


def test_readers_see_the_set_before_a_change_or_after_it(serve):
    """One label is replaced again and again by far apart pictures; what is answered fits its version."""
    client = serve(keep=False)
    end, found, failures = threading.Event(), set(), []

    def read():
        try:
            while not end.is_set():
                answer = client.predict(as_body(png(0, 1)), "?top=9&nearest=9").json
                [told] = answer["predictions"]
                by_label = {each["label"]: each["score"] for each in told["scores"]}
                values = sorted(each["value"] for each in told["nearest"] if each["label"] == "corner")
                found.add((answer["version"] % 2, by_label["corner"], tuple(values)))
        except Exception as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for i in range(40):  # version 4 has two pictures, version 5 one, and so on
        contents = [png(0, 1)] if i % 2 else [png(8), png(9)]
        assert client.ask("PUT", "/v1/labels?label=corner", **as_form(*contents)).status == 200
    end.set()
    for reader in readers:
        reader.join()
    assert not failures
    # The mean of the two is 2 + 0.5 away, each of them 3.
    assert found <= {(1, 0.0, (0.0,)), (0, -2.5, (3.0, 3.0))}
    assert len(found) == 2


def test_a_full_disk_leaves_the_set_as_it_was(serve, tmp_path, monkeypatch):
    client = serve()
    before = (tmp_path / "set" / saving.SUPPORT).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device; free space or choose another folder")

    with monkeypatch.context() as patched:
        patched.setattr(saving.files, "replace", full)
        answer = client.ask("POST", "/v1/labels?label=new", **as_body(png(8)))
    assert answer.status == 507
    assert answer.json["error"] == (
        "the set could not be saved and is unchanged: "
        "No space left on device; free space or choose another folder"
    )
    assert (tmp_path / "set" / saving.SUPPORT).read_bytes() == before
    assert client.get("/health").json["version"] == 3
    assert client.ask("POST", "/v1/labels?label=new", **as_body(png(8))).json["version"] == 4


# ---- the page and the documents


def test_the_page_loads_nothing_from_elsewhere(service):
    answer = service.get("/")
    page, policy = answer.text, answer.headers["content-security-policy"]
    assert not re.findall(r"""(?:src|href)=["']?(?!data:|/openapi\.json)[\w/.:]""", page)
    assert not re.findall(r"https?://|url\(|@import|\bimport\(", page)
    assert policy.startswith("default-src 'none';")
    for tag in ("script", "style"):
        [content] = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_openapi_document_describes_every_route(service):
    document = service.get("/openapi.json").json
    assert {path: set(methods) for path, methods in document["paths"].items()} == {
        "/health": {"get"},
        "/metrics": {"get"},
        "/v1/predict": {"post"},
        "/v1/labels": {"get", "post", "put", "delete"},
        "/v1/update": {"post"},
    }
    predict = document["paths"]["/v1/predict"]["post"]
    assert [each["name"] for each in predict["parameters"]] == ["top", "nearest", "probabilities"]
    assert set(predict["requestBody"]["content"]) == {"multipart/form-data", "application/json", "image/*"}
    answers = predict["responses"]
    assert answers["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Predictions")
    assert answers["4XX"]["content"]["application/json"]["schema"]["$ref"].endswith("/Failure")


def test_answers_have_the_form_that_the_document_describes(service):
    strict = {"strict": True, "extra": "forbid"}
    schemas.Predictions.model_validate_json(
        service.predict(as_body(GOOD), "?nearest=1&probabilities=1").text, **strict
    )
    schemas.Labels.model_validate_json(service.get("/v1/labels?pictures=2").text, **strict)
    schemas.Changed.model_validate_json(service.ask("DELETE", "/v1/labels?label=two").text, **strict)
    schemas.Health.model_validate_json(service.get("/health").text, **strict)
    schemas.Failure.model_validate_json(service.get("/nothing").text, **strict)


def test_metrics_count_requests_by_route_and_status(service):
    service.predict(as_body(GOOD))
    service.predict(as_body(b"no picture"))
    service.get("/one/that/is/not/there")
    text = service.get("/metrics").text
    for line in (
        'fslcore_requests_total{route="/v1/predict",status="200"} 1.0',
        'fslcore_requests_total{route="/v1/predict",status="400"} 1.0',
        'fslcore_requests_total{route="other",status="404"} 1.0',
        'fslcore_predictions_total{answer="label"} 1.0',
        "fslcore_batch_pictures_sum 1.0",
        "fslcore_labels 3.0",
        "fslcore_pictures 4.0",
    ):
        assert line in text.splitlines()
    assert json.dumps("/one") not in text
