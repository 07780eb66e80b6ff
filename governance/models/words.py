"""Text that is found by the beginnings of its words: a column of its own, the same words on both databases.

What a person types is split into words, and a row is found where each of them begins one of its words, in any order and
whatever the case or the accents: "cafe inv" finds "Invoices of the Café". The words are split and folded here, once, so
that no database's own idea of a word decides. PostgreSQL looks them up in a GIN index over `VECTOR`, which the
migration that adds such a column creates; SQLite reads the column through, which one machine's number of rows allows.

It is no ranking, no stemming and no search inside of words. A language written without spaces is found by the beginning
of a run of characters only.
"""

from __future__ import annotations

import re
import unicodedata

from django.core.exceptions import EmptyResultSet
from django.db import models

LONGEST = 40
"""Characters of a word that count; longer ones are cut, when kept and when looked for."""

VECTOR = "gatehouse_words({column})"
"""What PostgreSQL indexes."""

FUNCTION = """
CREATE OR REPLACE FUNCTION gatehouse_words(words text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 100
AS $$ BEGIN RETURN array_to_tsvector(string_to_array(words, ' ')); END $$
"""
"""Takes the words as they are, past the parser that would take an address or a number apart.

Its cost tells the planner, which takes a word that it does not know for a fairly common one, to ask the index for it
rather than to walk a list's order through all rows in search of it.
"""

_WORD = re.compile(r"[^\W_]+")


def fold(text: str) -> list[str]:
    """Return the words of a text, each once, in their order, without case and accents."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(one for one in plain if unicodedata.category(one) != "Mn")
    return list(dict.fromkeys(word[:LONGEST] for word in _WORD.findall(plain)))


class WordsField(models.TextField):
    """The folded words of other fields of the same row, written whenever the whole row is saved.

    A save that names its fields has to name this one beside those that it is made of; the test of the field holds
    the services to that.
    """

    def __init__(self, *args, of: tuple[str, ...] = (), **kwargs):
        self.of = tuple(of)
        super().__init__(*args, **{"editable": False, "default": "", "blank": True} | kwargs)

    def deconstruct(self):
        """Return what a migration writes down."""
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, kwargs | {"of": self.of}

    def pre_save(self, model_instance, add):
        """Return the words of the row as it is about to be saved."""
        words = " ".join(fold(" ".join(getattr(model_instance, name) or "" for name in self.of)))
        setattr(model_instance, self.attname, words)
        return words


@WordsField.register_lookup
class Begun(models.Lookup):
    """`words__begun="cafe inv"`: every word typed begins a word of the row. A text without a word finds nothing."""

    lookup_name = "begun"

    def get_prep_lookup(self):
        """Return the folded words, joined by a space."""
        return " ".join(fold(str(self.rhs)))

    def as_sql(self, compiler, connection):
        """Return the comparison for a database without an index of words."""
        lhs, params = self._left(compiler, connection)
        parts, values = [], []
        for word in self.rhs.split():
            parts.append(f"INSTR(' ' || {lhs}, %s) > 0")
            values += [*params, f" {word}"]
        return f"({' AND '.join(parts)})", values

    def as_postgresql(self, compiler, connection):
        """Return the comparison that the index answers."""
        lhs, params = self._left(compiler, connection)
        query = " & ".join(f"'{word}':*" for word in self.rhs.split())
        return f"({VECTOR.format(column=lhs)} @@ %s::tsquery)", [*params, query]

    def _left(self, compiler, connection):
        if not self.rhs:
            raise EmptyResultSet
        return self.process_lhs(compiler, connection)
