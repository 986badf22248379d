# SPDX-License-Identifier: MIT
"""Texts of users in pictures: whatever they hold, they are drawn as they stand, without a warning."""

from __future__ import annotations

import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from test_plots import HISTORY, count, episode, pixels, report

from fslcore import plots
from fslcore.plots.texts import drawable, wrapped

ODD = {
    "one dollar": "5 $ each",
    "a pair of dollars": "from $5 to $10",
    "a formula that is none": r"a$\frac{$b",
    "an open brace": "$a^{$",
    "escaped dollars": r"\$5 and \$6",
    "TeX": r"50 % of a_b & c#d ~ {e} \f",
    "quotes": '"it\'s" `so`',
    "nothing": "",
    "blanks": "  ",
    "lines": "two\nlines",
    "control characters": "a\tb\x00c\x1bd\r\x7f",
    "half a pair": "a\udce9b\ud83d",
    "Japanese": "犬と猫",
    "Arabic": "قطة",
    "Devanagari": "बिल्ली",
    "emoji": "👩‍🌾🐈",
    "accents": "e\u0301\u20dd",
    "no code point": "\uffff\U0010ffff",
    "one long word": "x" * 300,
    "a long name": "the picture of an oak " * 12,
    "an underscore first": "_nolegend_",
}


def drawn(figure):
    """The pixels, where every warning of matplotlib is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.set_dpi(40)
        return pixels(figure)


def pictures(text):
    support, query, scores = episode(n_way=2, n_query=3)
    scores[1] = scores[1, ::-1]
    yield plots.training_curve(HISTORY, text)
    yield plots.accuracy_versus_way({text: [report(2, 0.9), report(5, 0.8)], "b": [report(2, 0.5)]}, text)
    yield plots.episode_with_predictions(support, query, scores, [text, "b"], text)
    yield plots.real_versus_generated(support, support, text)
    yield plots.distance_matrix(np.eye(4), [0, 0, 1, 1], [text, "b"], text, text)
    yield plots.blank_figure((4, 3), text)


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_every_picture_can_be_drawn_with_every_text(text, capfd):
    for figure in pictures(text):
        if len(text) < 100:  # only long texts can spoil the layout, which takes most of the time
            figure.set_layout_engine("none")
        drawn(figure)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("text", ["from $5 to $10", r"\$5", "a_b^{c}"])
def test_texts_are_drawn_as_they_stand(text):
    for figure in pictures(text):
        with_text = [t for t in figure.findobj(Text) if text in t.get_text()]
        assert with_text
        assert not any(t.get_parse_math() or t.get_usetex() for t in with_text)


@pytest.mark.parametrize("size", [(2.0, 3.0), (4.0, 3.0), (10.0, 4.0)])
@pytest.mark.parametrize("text", [ODD["a long name"], ODD["one long word"], "W" * 60, "short", "5-way " * 9])
def test_headings_stay_within_their_picture(size, text):
    figure = plots.blank_figure(size, text)
    shown, _, cut = figure.get_suptitle().partition(" …")
    letters = "".join(text.split())
    assert letters.startswith("".join(shown.split()))
    assert cut == ""
    assert shown.count("\n") == 2 or "".join(shown.split()) == letters
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = figure._suptitle.get_window_extent(canvas.get_renderer())
    assert box.x0 >= 0
    assert box.x1 <= size[0] * figure.dpi


@pytest.mark.parametrize(
    ("k_shot", "n_query"), [(1, 1), (5, 1), *((1 + 4 * (n % 2), n) for n in range(2, 9)), (1, 9), (5, 9)]
)
def test_the_texts_of_an_episode_stay_within_its_picture(k_shot, n_query):
    support, query, scores = episode(n_way=3, k_shot=k_shot, n_query=n_query)
    scores[-1] = scores[0]
    figure = plots.episode_with_predictions(support, query, scores)
    figure.set_dpi(40)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert sum("the class a wrong one was taken for" in text.get_text() for text in texts) == 1
    for text in texts:
        box = text.get_window_extent(canvas.get_renderer())
        assert box.x0 >= -1, text
        assert box.x1 <= canvas.get_width_height()[0] + 1, text
    assert count(drawn(figure), plots.VERMILLION) > 20


def test_only_what_no_font_has_becomes_a_box():
    assert drawable("Eiche, дуб, δρῦς, chêne → 5 %") == "Eiche, дуб, δρῦς, chêne → 5 %"
    assert drawable("犬 a\t🐈") == "□ a □"
    assert drawable("a\u200db") in ("ab", "a\u200db")
    assert drawable(7) == "7"


def test_the_fonts_that_the_user_chose_count():
    with matplotlib.rc_context({"font.family": ["no such font", "DejaVu Sans Mono"]}):
        assert drawable("oak 犬") == "oak □"
    with matplotlib.rc_context({"font.family": ["no such font"]}):
        assert drawable("oak 犬") == "oak □"


def test_lines_are_broken_only_where_they_must_be():
    assert wrapped("a short heading", 5, 12) == "a short heading"
    assert wrapped("a short heading", 1, 12).split() == ["a", "short", "heading"]
    assert wrapped("two\nlines", 5, 12) == "two\nlines"
    assert wrapped("", 5, 12) == ""
