"""Interfaces show and pass on; they never write."""

from __future__ import annotations

import re

import pytest

from tests.architecture import source

INTERFACE = re.compile(
    r"(portal|training|projects|governance)/(views|api|admin|tasks|forms|serializers|lists|interfaces/listings|interfaces/bulk|context|middleware|templatetags|management)\b.*\.py"
)

# Where an interface writes all the same, and why.
EXCEPTIONS: dict[str, str] = {}

MODULES = [path for path in source.modules() if INTERFACE.fullmatch(source.name(path))]


@pytest.mark.parametrize("path", MODULES, ids=source.name)
def test_an_interface_never_writes(path):
    found = [
        f"{source.name(path)}:{call.lineno} {source.dotted(call.func)}()" for call in source.writes(source.tree(path))
    ]
    if source.name(path) in EXCEPTIONS:
        assert found, f"{source.name(path)} no longer writes: take it out of EXCEPTIONS"
        return
    assert not found, (
        f"An interface writes: {', '.join(found)}. Move the change into a function in services/<noun>.py that takes `actor`, "
        "calls access.require and ledger.record in one transaction, and call it here: use_cases.submit(actor=request.user, ...). "
        "Forms and serializers check shape and never save."
    )


def test_the_reader_of_source_sees_a_write(tmp_path):
    module = tmp_path / "views.py"
    module.write_text(
        "def view(request, form):\n"
        "    UseCase.objects.create(title='x')\n"
        "    UseCase.objects.filter(pk=1).update(title='y')\n"
        "    form.save()\n"
        "    use_cases.create(actor=request.user)\n"
        "    context.update(title='z')\n"
        "    cache.delete('key')\n"
    )

    assert [call.lineno for call in source.writes(source.tree(module))] == [2, 3, 4]
