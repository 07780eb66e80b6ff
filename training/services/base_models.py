"""The catalogue of base models: brought in as safetensors from known places, allowed by somebody else.

A person names a source that an operator has put on this machine (a folder under `MODEL_ROOTS`, or an installed Python
package that carries a model), never a path. Nothing here loads a model: files are checked by name, and configuration
and weights' headers are read as data.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import User
from governance.policy import Permission
from governance.services import access, ledger
from projects.models import Blob, Repository
from projects.services import repositories
from projects.services.fields import Invalid, clean
from training.engine import admission
from training.engine.failures import EngineError
from training.models import BaseModel

MAX_HEADER = 100 * 1024 * 1024
MAX_FILES = 200
REQUIRED = ("config.json", "tokenizer.json")
SHAPE = {
    "hidden_size": ("hidden_size", "dim", "d_model"),
    "layers": ("num_hidden_layers", "n_layers", "num_layers"),
    "intermediate_size": ("intermediate_size", "hidden_dim", "d_ff"),
    "attention_heads": ("num_attention_heads", "n_heads"),
    "vocabulary": ("vocab_size",),
}
# Directories of a Python package are named in its list of files; only this shape of name is looked at.
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Refused(Invalid):
    """The files cannot become a base model; the message says which file and why, `advice` what to do."""

    def __init__(self, message: str, *, advice: str = "", field: str = "source") -> None:
        super().__init__(f"{message} {advice}".strip(), field=field)
        self.advice = advice


@dataclass(frozen=True)
class Source:
    """A place on this machine from which a base model can be imported; `key` is what a person chooses."""

    key: str
    title: str
    origin: str
    folder: Path


@dataclass(frozen=True)
class Inspection:
    """What the files of a folder say about the model: `files` are the relative paths that will be imported."""

    files: tuple[str, ...]
    architecture: str
    family: str
    parameters: int
    context_length: int
    size: int
    shape: dict[str, int]


# Where models may come from


def sources() -> list[Source]:
    """Return every folder under `MODEL_ROOTS` and every installed package that holds weights as safetensors."""
    found: list[Source] = []
    for root in map(Path, settings.MODEL_ROOTS):
        if not root.is_dir():
            continue
        for folder in sorted(root.iterdir()):
            if not folder.is_symlink() and folder.is_dir() and any(folder.glob("*.safetensors")):
                found.append(
                    Source(
                        key=f"folder:{folder.name}",
                        title=folder.name,
                        origin=f"The folder “{folder.name}” that an operator placed on the server.",
                        folder=folder,
                    )
                )
    return found + list(_installed_packages())


@lru_cache(maxsize=1)
def _installed_packages() -> tuple[Source, ...]:
    found = []
    for distribution in importlib.metadata.distributions():
        weights = [file for file in distribution.files or [] if file.name.endswith(".safetensors")]
        folders = {Path(str(file.locate())).parent for file in weights}
        name = distribution.name
        if len(folders) == 1 and _PACKAGE.fullmatch(name):
            told = distribution.metadata.json
            licence = str(told.get("license_expression") or told.get("license") or "not named")
            found.append(
                Source(
                    key=f"package:{name}",
                    title=f"{name} {distribution.version}",
                    origin=f"The Python package {name} {distribution.version} installed on the server "
                    f"(licence of the package: {licence.splitlines()[0][:60]}).",
                    folder=folders.pop(),
                )
            )
    return tuple(sorted(found, key=lambda source: source.key))


def source_of(key: str) -> Source:
    """Return the source with this key; raises Invalid. `package:` names may be written with - or _."""
    wanted = key.strip().replace("_", "-").lower()
    for source in sources():
        if source.key.replace("_", "-").lower() == wanted:
            return source
    raise Invalid(
        "There is no such source on this server. An operator installs a model package, or places a folder of "
        "safetensors under MODEL_ROOTS.",
        field="source",
    )


# What is in them


def inspect(folder: Path) -> Inspection:
    """Return what the files say; raises Refused for anything that may run code or that is not a known encoder."""
    names = _names(folder)
    try:
        admission.refuse_unsafe_names(names)
        admission.refuse_unsafe_configs(folder, names)
    except EngineError as error:
        raise Refused(error.message, advice=error.advice) from error
    for required in REQUIRED:
        if required not in names:
            raise Refused(f"The model has no {required}.", advice="Import it with its configuration and tokenizer.")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    family = config.get("model_type") if isinstance(config, dict) else None
    known = (*admission.ARCHITECTURES, *admission.GENERATORS)
    if family not in known:
        raise Refused(
            f"The architecture {family!r} is not on the list.",
            advice=f"Choose a model of one of these: {', '.join(known)}.",
        )
    weights = [name for name in names if name.endswith(".safetensors")]
    if not weights:
        raise Refused("The model has no weights in safetensors format.", advice="Convert its weights to safetensors.")
    declared = config.get("architectures")
    return Inspection(
        files=tuple(names),
        architecture=str(declared[0] if isinstance(declared, list) and declared else family)[:120],
        family=str(family),
        parameters=sum(_parameters(folder / name) for name in weights),
        context_length=_context_length(folder, config),
        size=sum((folder / name).stat().st_size for name in names),
        shape={name: found for name, keys in SHAPE.items() if (found := _first_integer(config, keys))},
    )


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise Refused("The source is not a folder.", advice="Name a folder that holds config.json and safetensors.")
    names = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise Refused(f"“{name}” is a link out of the folder.", advice="Replace it by the file itself.")
        if path.is_file():
            names.append(name)
        if len(names) > MAX_FILES:
            raise Refused(f"The folder holds more than {MAX_FILES} files.", advice="Keep only the model's own files.")
    return names


def _parameters(path: Path) -> int:
    """Return the number of weights in a safetensors file, from its header alone.

    The format: eight bytes little-endian with the header's length, then that many bytes of JSON with dtype, shape and
    data offsets of every tensor, then the data. Raises Refused where the header does not describe the file.
    """
    broken = Refused(f"“{path.name}” is not a sound safetensors file.", advice="Fetch the weights again.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(MAX_HEADER, size - 8):
                raise broken
            header: dict[str, Any] = json.loads(file.read(length))
        total = end = 0
        for name, tensor in header.items():
            if name != "__metadata__":
                total += math.prod(int(n) for n in tensor["shape"])
                end = max(end, int(tensor["data_offsets"][1]))
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, struct.error) as error:
        raise broken from error
    if end != size - 8 - length:
        raise broken
    return total


def _context_length(folder: Path, config: dict[str, Any]) -> int:
    positions = _first_integer(config, ("max_position_embeddings", "n_positions")) or 512
    try:
        tokenizer = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        tokenizer = {}
    limit = tokenizer.get("model_max_length") if isinstance(tokenizer, dict) else None
    # transformers writes 1e30 where a tokenizer knows no limit.
    return min(positions, limit) if isinstance(limit, int) and 0 < limit < 10_000_000 else positions


def _first_integer(config: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    for key in keys:
        if isinstance(config.get(key), int) and config[key] > 0:
            return int(config[key])
    return None


# Changes


def _require_import(actor: User) -> None:
    """Whoever may import in any team may import: the catalogue belongs to the organisation."""
    if not access.scope_ids(actor, Permission.BASE_MODEL_IMPORT):
        access.require(actor, Permission.BASE_MODEL_IMPORT)


def import_source(*, actor: User, source: str, **described: Any) -> BaseModel:
    """Import from a listed source (see `sources`), described as in `import_folder`. Raises Denied, Invalid, Refused."""
    _require_import(actor)
    chosen = source_of(source)
    described["origin"] = " ".join(part for part in (str(described.get("origin") or "").strip(), chosen.origin) if part)
    return import_folder(actor=actor, folder=chosen.folder, **described)


def import_folder(
    *,
    actor: User,
    folder: Path,
    name: str,
    title: str,
    licence: str,
    origin: str,
    description: str = "",
    task: str = "",
    languages: str = "",
) -> BaseModel:
    """Read a folder of this machine into the store and propose it as a base model; for operators and `import_source`.

    The same name again is a new revision. Raises Denied, Refused for unsafe or unknown files, Invalid for a field, or
    where exactly these files are in the catalogue under that name already.
    """
    _require_import(actor)
    values = clean(
        BaseModel,
        {
            "name": name,
            "title": title,
            "licence": licence,
            "origin": origin,
            "description": description,
            "task": task or "text embeddings",
            "languages": languages,
        },
    )
    found = inspect(folder)
    # Bytes are stored before the transaction: hashing gigabytes must not hold a lock.
    files = {path: repositories.store_blob(folder / path) for path in found.files}
    return _propose(actor=actor, values=values, found=found, files=files)


@transaction.atomic
def _propose(*, actor: User, values: dict[str, Any], found: Inspection, files: dict[str, Blob]) -> BaseModel:
    # Rights of the repository are those of the organisation; a team's engineer has been let in above.
    system = User.objects.system()
    repository = Repository.objects.filter(kind=Repository.Kind.BASE_MODEL, team=None, name=values["name"]).first()
    if repository is None:
        repository = repositories.create(actor=system, kind=Repository.Kind.BASE_MODEL, team=None, name=values["name"])
    tree = {path: blob.sha256 for path, blob in files.items()}
    for known in BaseModel.objects.filter(repository=repository).select_related("commit"):
        if dict(known.commit.files.values_list("path", "blob_id")) == tree:
            raise Invalid(f"Exactly these files are in the catalogue already, as {known.title}.", field="name")
    commit = repositories.commit(actor=system, repository=repository, files=files, message=f"Import {values['title']}")
    model = BaseModel.objects.create(
        **values,
        family=found.family,
        architecture=found.architecture,
        parameters=found.parameters,
        context_length=found.context_length,
        size=found.size,
        shape=found.shape,
        repository=repository,
        commit=commit,
        imported_by=actor,
    )
    ledger.record(
        Action.BASE_MODEL_IMPORTED,
        actor=actor,
        subject=model,
        digest=tree_digest(tree),
        details={
            "name": model.name,
            "commit": commit.oid,
            "licence": model.licence,
            "architecture": model.architecture,
            "parameters": model.parameters,
            "weights": {path: sha for path, sha in tree.items() if path.endswith(".safetensors")},
        },
        texts={"title": model.title, "origin": model.origin, "description": model.description},
    )
    return model


def tree_digest(tree: dict[str, str]) -> str:
    """Return one SHA-256 over all paths and hashes of a set of files."""
    return ledger.text_digest(json.dumps(tree, sort_keys=True, separators=(",", ":")))


@transaction.atomic
def allow(*, actor: User, base_model: BaseModel, reason: str) -> BaseModel:
    """Let everyone with approved work fine-tune this revision. Raises Denied (also for who imported it), Invalid."""
    access.require(actor, Permission.BASE_MODEL_ALLOW)
    model = BaseModel.objects.select_for_update(no_key=True).get(pk=base_model.pk)
    if model.imported_by_id == actor.pk:
        raise access.Denied(
            "You imported this model, so someone else has to allow it.", code="own_request", subject=model
        )
    if actor.is_service:
        raise access.Denied("Only a person can allow a base model.", code="not_a_person", subject=model)
    return _decide(actor, model, BaseModel.State.ALLOWED, Action.BASE_MODEL_ALLOWED, reason)


@transaction.atomic
def disallow(*, actor: User, base_model: BaseModel, reason: str) -> BaseModel:
    """Stop new training with this revision at once; queued jobs fail when they are claimed. Raises Denied, Invalid."""
    access.require(actor, Permission.BASE_MODEL_ALLOW)
    model = BaseModel.objects.select_for_update(no_key=True).get(pk=base_model.pk)
    return _decide(actor, model, BaseModel.State.DISALLOWED, Action.BASE_MODEL_DISALLOWED, reason)


def _decide(actor: User, model: BaseModel, state: BaseModel.State, action: Action, reason: str) -> BaseModel:
    if not reason.strip():
        raise Invalid("Say why, in a sentence: the auditor will read it.", field="reason")
    if model.state == state:
        raise Invalid(f"This model is {model.get_state_display().lower()} already.", field="")
    model.state = state
    model.decision_reason = reason.strip()
    model.allowed_by = actor if state == BaseModel.State.ALLOWED else None
    model.allowed_at = timezone.now() if state == BaseModel.State.ALLOWED else None
    model.save(update_fields=["state", "decision_reason", "allowed_by", "allowed_at"])
    ledger.record(
        action,
        actor=actor,
        subject=model,
        details={"name": model.name, "commit": model.commit.oid},
        texts={"reason": reason.strip()},
    )
    return model
