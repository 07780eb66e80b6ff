"""The datasheet of a version: what the data is, where it comes from and what is in it, filled from what is known.

The sections follow the questions of “Datasheets for Datasets” (Gebru et al., 2021); the head is the one that clients of
the Hub read.
"""

from __future__ import annotations

from typing import Any

from huggingface_hub import DatasetCardData

from projects import layouts
from projects.models import Dataset, DatasetVersion
from projects.services.datasets import uploads

MAX_LISTED = 100


def card(*, dataset: Dataset, version: DatasetVersion) -> str:
    """Return the datasheet in Markdown, with a YAML head."""
    profile: dict[str, Any] = version.profile or {}
    source: dict[str, Any] = version.source or {}
    parts = [
        f"---\n{_head(dataset, version)}\n---",
        f"# {dataset.title}",
        dataset.description,
        _table(
            [
                ("Dataset", f"`{dataset.team.slug}/{dataset.name}`, version {version.number}"),
                ("Steward", str(dataset.steward)),
                ("Licence", dataset.licence),
                ("Classification", dataset.get_classification_display()),
                ("Lawful basis", dataset.get_lawful_basis_display()),
                ("Region", dataset.region or "not restricted"),
                ("Keep until", dataset.retention_until.isoformat() if dataset.retention_until else "no date set"),
            ]
        ),
        "## Collection",
        dataset.provenance,
        f"The version was read from `{source.get('filename', '')}` (SHA-256 `{source.get('sha256', '')}`).",
        "## Composition",
        _composition(version, profile),
        "## Preparation",
        _preparation(version, source),
        "## Personal data",
        _personal_data(profile),
        "## Known weaknesses",
        _findings(profile),
    ]
    return "\n\n".join(part.strip() for part in parts if part and part.strip()) + "\n"


def _head(dataset: Dataset, version: DatasetVersion) -> str:
    splits = [name for name, rows in _splits(version).items() if rows]
    data = DatasetCardData(
        license=dataset.licence.lower(),
        task_categories=[layouts.get(version.layout).category],
        size_categories=_size(version.rows),
        pretty_name=dataset.title,
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}.parquet"} for name in splits],
            }
        ],
    )
    return data.to_yaml().strip()


def _splits(version: DatasetVersion) -> dict[str, int]:
    # PostgreSQL's jsonb does not keep the order of keys.
    rows = version.split_rows or {}
    return {name: rows[name] for name in uploads.SPLITS if name in rows}


def _size(rows: int) -> str:
    for limit, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if rows < limit:
            return name
    return "1M<n<10M"


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _table(rows: list[tuple[Any, ...]], head: tuple[str, ...] = ("Field", "Value")) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _composition(version: DatasetVersion, profile: dict[str, Any]) -> str:
    splits = _splits(version)
    said = [f"{version.rows:,} rows: {', '.join(f'{rows:,} {name}' for name, rows in splits.items())}."]
    classes = (profile.get("labels") or {}).get("classes") or []
    if classes:
        listed = [
            (found["label"], f"{found['rows']:,}", *(f"{found['splits'].get(name, 0):,}" for name in splits))
            for found in classes[:MAX_LISTED]
        ]
        said.append(_table(listed, ("Label", "Rows", *splits)))
        if len(classes) > MAX_LISTED:
            said.append(f"{len(classes) - MAX_LISTED:,} further labels are in `profile.json`.")
    columns = profile.get("columns") or []
    if columns:
        said.append(
            _table(
                [(found["name"], found.get("type", "text"), found.get("gaps", 0)) for found in columns[:MAX_LISTED]],
                ("Column", "Type", "Gaps"),
            )
        )
    return "\n\n".join(said)


def _preparation(version: DatasetVersion, source: dict[str, Any]) -> str:
    options = source.get("options") or {}
    layout, columns = layouts.get(version.layout), version.columns
    if layout.name == layouts.DEFAULT:
        said = [f"The text is in the column `{columns.get('text', '')}`, the label in `{columns.get('label', '')}`."]
    else:
        held = ", ".join(f"{layout.role(role).title.lower()} in `{column}`" for role, column in columns.items())
        said = [f"One row: {layout.title.lower()}. Columns: {held}."]
    if options.get("split_column"):
        said.append(f"The splits are those of the column `{options['split_column']}`.")
        if "validation" in (source.get("set_aside") or []):
            said.append(
                f"It names no validation rows, so some training rows were set aside (seed {options.get('seed')})."
            )
    else:
        said.append(
            f"The splits were drawn {'per label ' if layout.stratum else ''}with seed {options.get('seed')}; "
            "rows with the same text are in the same one."
        )
    if layout.stratum:
        said.append("Blanks around labels were removed; nothing else was changed.")
    if version.error_count:
        said.append(f"{version.error_count:,} rows could not be read and were left out.")
    return " ".join(said)


def _personal_data(profile: dict[str, Any]) -> str:
    found = profile.get("personal_data") or {}
    kinds = found.get("kinds") or []
    said = [found.get("method", "")]
    if kinds:
        said.append(
            _table(
                [(kind["name"], f"{kind['count']:,}", ", ".join(kind["columns"])) for kind in kinds],
                ("Kind", "Found", "Columns"),
            )
        )
    else:
        said.append("No personal data was found by pattern.")
    if found.get("shapes"):
        listed = "; ".join(f"{shape['name']} in {shape['rows']:,}" for shape in found["shapes"])
        said.append(f"All rows were looked at for shapes alone, without checking what was found: {listed}.")
    if found.get("cannot_find"):
        said.append(str(found["cannot_find"]))
    return "\n\n".join(part for part in said if part)


def _findings(profile: dict[str, Any]) -> str:
    found = profile.get("findings") or []
    if not found:
        return "The profile found none."
    return "\n".join(f"- {one['sentence']} {one['advice']}" for one in found)
