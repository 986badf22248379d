# SPDX-License-Identifier: MIT
"""What the service refuses: each time in one sentence and one form, and nothing is changed."""

import asyncio
import struct
import zlib

import pytest
from serving_cases import as_body, as_form, as_json, base64_of, of_json, png, running_service, small_set

from fslcore.classifier import saving
from fslcore.serving import bodies
from fslcore.serving.bodies import Held
from fslcore.serving.errors import Refused
from fslcore.serving.limits import Limits, opened_picture
from fslcore.serving.predicting import Asked, predictions

TOKEN = "a token of some length"


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width, height):
    """A PNG of a few bytes that says that it is large."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def labels_of(*entries):
    return of_json({"labels": [{"label": label, "images": images} for label, images in entries]})


SMALL = Limits(body_bytes=20_000, pixels=4096, pictures=3, labels=2, label_length=20)
GOOD = png(0)
REFUSED = {
    "no picture": ("POST", "/v1/predict", {}, 400, "images must be at least one picture, received none"),
    "no image": ("POST", "/v1/predict", as_form(GOOD, b"a text"), 400, "images must be pictures (PNG, JPEG"),
    "an empty file": ("POST", "/v1/predict", as_form(b""), 400, "images must be pictures, received an empty"),
    "a damaged file": ("POST", "/v1/predict", as_form(GOOD[:45]), 400, "must be a picture that can be read"),
    "a text as a picture": (
        "POST",
        "/v1/predict",
        {"content": b"<svg/>", "headers": {"Content-Type": "image/svg+xml"}},
        400,
        "images must be pictures (PNG, JPEG",
    ),
    "a bomb": (
        "POST",
        "/v1/predict",
        as_form(bomb(100, 100)),
        400,
        "images must have at most 4096 pixels each, received 100 x 100 pixels",
    ),
    "a larger bomb": ("POST", "/v1/predict", as_form(bomb(60_000, 60_000)), 400, "at most 4096 pixels each"),
    "too many": (
        "POST",
        "/v1/predict",
        as_json(*[GOOD] * 4),
        400,
        "at most 3 pictures in one request, received 4",
    ),
    "many files": ("POST", "/v1/predict", as_form(*[GOOD] * 9), 400, "Too many files"),
    "too large": (
        "POST",
        "/v1/predict",
        as_body(bytes(20_001)),
        413,
        "a request must have at most 20000 bytes, received 20001",
    ),
    "another type": (
        "POST",
        "/v1/predict",
        {"content": GOOD, "headers": {"Content-Type": "text/plain"}},
        415,
        "Content-Type must be image/..., multipart/form-data or application/json, received 'text/plain'",
    ),
    "no JSON": (
        "POST",
        "/v1/predict",
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
        400,
        "body must be JSON",
    ),
    "a list": ("POST", "/v1/predict", of_json([1]), 400, "body must be a JSON object, received list"),
    "web-safe base64": (
        "POST",
        "/v1/predict",
        of_json({"images": ["-_-_"]}),
        400,
        "images[0] must be standard base64",
    ),
    "a number": ("POST", "/v1/predict", of_json({"images": [5]}), 400, "images[0] must be base64"),
    "another field": (
        "POST",
        "/v1/predict",
        of_json({"images": [base64_of(0)], "topp": 3}),
        400,
        "body must hold only images, received the field 'topp'",
    ),
    "another name": (
        "POST",
        "/v1/predict",
        as_form(GOOD, name="image"),
        400,
        "images must be the name of the files, received 'image'",
    ),
    "an unknown option": ("POST", "/v1/predict?k=3", as_body(GOOD), 400, "query must be of top, nearest"),
    "an option twice": ("POST", "/v1/predict?top=3&top=4", as_body(GOOD), 400, "top must be given once"),
    "top 0": ("POST", "/v1/predict?top=0", as_body(GOOD), 400, "top must be a whole number from 1 to 1000"),
    "no truth": ("POST", "/v1/predict?probabilities=so", as_body(GOOD), 400, "must be true or false"),
    "no label": ("POST", "/v1/labels", as_body(GOOD), 400, "label must be given once, as label (text) or as"),
    "two labels": ("POST", "/v1/labels?label=a&number=1", as_body(GOOD), 400, "label must be given once"),
    "an empty label": ("POST", "/v1/labels?label=", as_body(GOOD), 400, "label must be a string that is not"),
    "a long label": ("POST", f"/v1/labels?label={'a' * 21}", as_body(GOOD), 400, "at most 20 characters"),
    "a control character": ("POST", "/v1/labels?label=a%00", as_body(GOOD), 400, "no control characters"),
    "no number": ("POST", "/v1/labels?number=1.5", as_body(GOOD), 400, "number must be an integer"),
    "a huge number": ("POST", "/v1/labels?number=99999999999999999999", as_body(GOOD), 400, "below 2^63"),
    "a true label": (
        "POST",
        "/v1/labels",
        of_json({"label": True, "images": [base64_of(0)]}),
        400,
        "text or an",
    ),
    "a label of 1.0": (
        "POST",
        "/v1/labels",
        of_json({"label": 1.0, "images": [base64_of(0)]}),
        400,
        "text or an",
    ),
    "a label without pictures": ("POST", "/v1/labels?label=a", {}, 400, "must hold at least one image"),
    "removing what is not there": (
        "DELETE",
        "/v1/labels?label=cat",
        {},
        404,
        "label must be a label of this support set ('corner', 7, 'two'), received label='cat'",
    ),
    "removing the text 7": ("DELETE", "/v1/labels?label=7", {}, 404, "received label='7'"),
    "removing with pictures": (
        "DELETE",
        "/v1/labels?number=7",
        as_json(GOOD),
        400,
        "must not be sent with DELETE",
    ),
    "replacing what is not there": (
        "PUT",
        "/v1/labels?label=cat",
        as_body(GOOD),
        404,
        "must be a label of this",
    ),
    "half of an update": (
        "POST",
        "/v1/update",
        labels_of(("a", [base64_of(8)]), ("b", ["AAAA"])),
        400,
        "images must be pictures",
    ),
    "many labels": (
        "POST",
        "/v1/update",
        labels_of(*((str(i), []) for i in range(10_000))),
        413,
        "a request must have at most 20000 bytes",
    ),
    "three labels": (
        "POST",
        "/v1/update",
        labels_of(*((str(i), [base64_of(i)]) for i in range(3))),
        400,
        "labels must be at most 2 labels in one request, received 3",
    ),
    "a label twice": (
        "POST",
        "/v1/update",
        labels_of(("a", [base64_of(8)]), ("a", [base64_of(9)])),
        400,
        "labels must name each label once, received 'a' twice",
    ),
    "another page": (
        "GET",
        "/v1/nothing",
        {},
        404,
        "there is no such page; /openapi.json lists what there is",
    ),
    "another method": ("GET", "/v1/predict", {}, 405, "this page does not take this method"),
}


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A service with small limits, for requests that must change nothing."""
    folder = tmp_path_factory.mktemp("strict")
    support = small_set()
    support.keep_in(folder / "set")
    with running_service(support, limits=SMALL) as client:
        yield client, support, folder / "set" / saving.SUPPORT


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_said_in_a_sentence_and_changes_nothing(strict, case):
    client, support, file = strict
    method, url, body, status, sentence = REFUSED[case]
    state, content = support.snapshot(), file.read_bytes()
    answer = client.ask(method, url, **body)
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    told = answer.json
    assert set(told) == {"status", "error", "argument"}
    assert told["status"] == status
    assert sentence in told["error"]
    assert "\n" not in told["error"]
    assert support.snapshot() is state
    assert file.read_bytes() == content


def test_an_empty_set_says_what_it_needs(serve):
    support = small_set()
    for label in support.labels:
        support.remove(label)
    client = serve(support)
    answer = client.predict(as_body(GOOD))
    assert answer.status == 409
    assert "the set must have a label before it predicts" in answer.json["error"]
    assert client.ask("POST", "/v1/labels?label=a", **as_body(GOOD)).json["total"] == 1
    assert client.predict(as_body(GOOD)).json["predictions"][0]["label"] == "a"


def test_one_bad_picture_does_not_fail_the_requests_beside_it():
    def asked(*contents):
        return Asked([opened_picture(content, Limits()) for content in contents])

    good, bad, also = predictions(small_set(), [asked(GOOD), asked(GOOD, GOOD[:45]), asked(png(2))])
    assert good["predictions"][0]["label"] == "corner"
    assert "images[1] must be a picture that can be read, received a file of PNG: " in str(bad)
    assert also["predictions"][0]["label"] == 7


def test_a_set_that_is_read_only_says_so(serve):
    client = serve(read_only=True, keep=False)
    for method, url in (
        ("POST", "/v1/labels?label=a"),
        ("PUT", "/v1/labels?label=two"),
        ("POST", "/v1/update"),
    ):
        answer = client.ask(method, url, **as_body(GOOD))
        assert (answer.status, answer.json["argument"]) == (403, None)
        assert "read only" in answer.json["error"]
    assert client.ask("DELETE", "/v1/labels?label=two").status == 403
    assert client.predict(as_body(GOOD)).status == 200


def test_a_request_that_comes_too_slowly_is_given_up(serve):
    async def receive():
        await asyncio.sleep(60)

    async def slow():
        request = bodies.Request({"type": "http", "method": "POST", "headers": []}, receive)
        with bodies.Held(Limits()).room() as take:
            await bodies.read(request, Limits(seconds=1), take)

    with pytest.raises(Refused, match="must arrive within 1 s"):
        asyncio.run(slow())


def test_requests_that_hold_too_much_together_are_sent_away():
    held = Held(Limits(body_bytes=60, held_bytes=100))
    with held.room() as one:
        one(60)
        with held.room() as two, pytest.raises(Refused, match="busy with other requests") as caught:
            two(41)
        assert caught.value.status == 503
        with held.room() as three:  # what the other held was given back
            three(40)
        with pytest.raises(Refused, match="at most 60 bytes"):
            one(1)


# ---- who may ask


def test_without_the_token_only_the_page_and_the_health_are_shown(serve):
    client = serve(token=TOKEN, keep=False)
    for method, url in (
        ("GET", "/v1/labels"),
        ("POST", "/v1/predict"),
        ("GET", "/metrics"),
        ("GET", "/nothing"),
    ):
        for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": TOKEN}):
            answer = client.ask(method, url, headers=headers)
            assert answer.status == 401
            assert answer.json["argument"] == "Authorization"
    with_token = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/v1/labels", headers=with_token).json["total"] == 3
    assert [client.get(url).status for url in ("/", "/health", "/openapi.json")] == [200, 200, 200]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://127.0.0.1:8000", "Host": "127.0.0.1:8000"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),  # a name that was made to point here
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
    ],
)
def test_pages_of_other_sites_cannot_use_the_browser_of_this_machine(service, headers, status):
    answer = service.ask("POST", "/v1/labels?label=new", GOOD, {"Content-Type": "image/png", **headers})
    assert answer.status == status
    if status == 403:
        assert answer.json["argument"] in headers
        assert service.get("/health").json["version"] == 3
