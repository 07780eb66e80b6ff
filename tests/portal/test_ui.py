"""The display tags: what a value looks like, and that whatever a person typed is escaped."""

from __future__ import annotations

import datetime
from types import SimpleNamespace

import pytest
from django import forms
from django.template import Context, Template, engines
from django.test import RequestFactory

from portal.templatetags import ui

ATTACK = '<img src=x onerror="1">'


def draw(source: str, **values) -> str:
    return Template("{% load ui %}" + source, engine=engines["django"].engine).render(Context(values))


@pytest.mark.parametrize("state", ui.STATUSES)
def test_a_state_is_an_icon_a_word_and_a_colour(state):
    markup = ui.status(state)
    assert "<use href=" in markup
    assert str(ui.STATUSES[state][1]) in markup
    assert f"tone-{ui.STATUSES[state][2]}" in markup


def test_an_unknown_state_is_shown_by_its_own_name():
    assert "Waiting for rain" in ui.status("waiting_for_rain")
    assert "&lt;img" in ui.status(ATTACK)


def test_a_state_may_be_an_enumeration_or_carry_its_own_words():
    assert 'data-status="queued"' in ui.status(SimpleNamespace(value="queued"))
    assert "Behind two others" in ui.status("queued", label="Behind two others")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (87 * 1024**2, "87.0 MiB"), (None, "–"), ("x", "–")],
)
def test_bytes_carry_a_unit(value, shown):
    assert ui.bytes_(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 s"),
        (0.25, "0.25 s"),
        (59.6, "1 min"),
        (3725, "1 h 2 min"),
        (90061, "1 d 1 h"),
        (datetime.timedelta(minutes=3, seconds=5), "3 min 5 s"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_durations_say_the_two_largest_units(value, shown):
    assert ui.duration(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234, "1,234"), (0, "0"), (15230, "15.2 k"), (22_700_000, "22.7 M"), (0.5, "0.50"), (None, "–")],
)
def test_counts_are_compact(value, shown):
    assert ui.compact(value) == shown


def test_shares_are_percentages():
    assert ui.percent(8 / 9) == "88.9 %"
    assert ui.percent(1, 0) == "100 %"
    assert ui.percent(None) == "–"


def test_a_capped_count_says_so():
    assert ui.count_of(10_001) == "10,000+"
    assert ui.results(1) == "1 result"


def test_a_person_has_a_name_and_initials():
    assert ">AM<" in ui.person("Alice Moreau")
    assert "System" in ui.person(None)
    assert "bob@example.org" in ui.person(SimpleNamespace(get_full_name=lambda: "", email="bob@example.org"))
    assert "<img" not in ui.person(ATTACK)
    assert ui.person("   ")


def test_a_moment_keeps_its_exact_value():
    moment = datetime.datetime(2026, 11, 22, 14, 5, 9, tzinfo=datetime.UTC)
    markup = ui.when(moment)
    assert 'datetime="2026-11-22T14:05:09+00:00"' in markup
    assert "title=" in markup
    assert "–" in ui.when(None)
    assert 'datetime="2026-11-22"' in ui.when(datetime.date(2026, 11, 22))


def test_a_digest_is_short_and_copies_whole():
    digest = "3f9a1c77b0de4421aa01"
    markup = ui.short_digest(digest)
    assert ">3f9a1c77b0<" in markup
    assert f'data-copy="{digest}"' in markup
    assert "<img" not in ui.short_digest(ATTACK)


def test_a_breadcrumb_ends_with_the_page_itself():
    markup = draw('{% breadcrumb "Models" "/models/" name %}', name=ATTACK)
    assert '<a href="/models/">Models</a>' in markup
    assert 'aria-current="page"' in markup
    assert "<img" not in markup


def test_a_sorted_column_turns_around_and_forgets_the_cursor():
    request = RequestFactory().get("/models/?sort=name&cursor=abc&team=it")
    markup = draw('{% sort_header "Name" "name" %}', request=request)
    assert 'aria-sort="ascending"' in markup
    assert "sort=-name" in markup
    assert "team=it" in markup
    assert "cursor" not in markup


def test_a_component_wraps_its_content_and_sees_nothing_else_of_the_page():
    markup = draw('{% component "card" title=title %}<b>{{ inner }}</b>{% endcomponent %}', title=ATTACK, inner=ATTACK)
    assert "<b>&lt;img" in markup
    assert "<img" not in markup
    assert 'id="leak"' not in draw('{% component "card" title="t" %}x{% endcomponent %}', id="leak")


class Intake(forms.Form):
    title = forms.CharField(help_text="In a few words.")
    agree = forms.BooleanField(required=False)
    method = forms.ChoiceField(choices=[("a", "A"), ("b", "B")], widget=forms.RadioSelect)


def test_a_field_names_its_help_and_its_error_to_a_screen_reader():
    markup = draw('{% include "components/form.html" with form=form only %}', form=Intake({"method": "z"}))
    assert 'aria-invalid="true"' in markup
    assert 'id="id_title_helptext"' in markup
    assert 'id="id_title_error"' in markup
    assert "id_title_error" in markup.split("<input", 2)[1].split(">")[0]
    assert '<a href="#id_title">' in markup


def test_a_form_without_errors_has_no_summary():
    assert 'role="alert"' not in draw('{% include "components/form.html" with form=form only %}', form=Intake())


def test_a_checklist_item_says_in_words_whether_it_is_met():
    include = '{% include "components/checklist_item.html" with label="Data" met=met url="/x/" only %}'
    assert 'aria-label="Met"' in draw(include, met=True)
    assert 'aria-label="Missing"' in draw(include, met=False)
    assert 'aria-label="Not known yet"' in draw(include, met=None)


def test_nothing_missing_draws_no_box():
    assert draw('{% include "components/missing_box.html" with items=items only %}', items=[]).strip() == ""


def test_the_summary_of_errors_promises_only_what_is_drawn_again():
    class Plain(forms.Form):
        name = forms.CharField()

    class Secret(Plain):
        password = forms.CharField(widget=forms.PasswordInput)

    source = '{% include "components/form_errors.html" with form=form only %}'
    assert "still here" in draw(source, form=Plain({}))
    assert "still here" not in draw(source, form=Secret({}))
    assert "typed again" in draw(source, form=Secret({}))
