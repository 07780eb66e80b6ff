"""What may be loaded to be served: files with the hashes that were approved, safetensors only, known architectures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.engine.admission import GENERATORS, refuse_unsafe_configs, refuse_unsafe_names, verify_hashes
from training.engine.failures import EngineError
from training.engine.spec import SpecError, check_relative_path

# Files of a model version that nothing loads; they may lie in its folder and need no check of their kind.
RECORDS = (".parquet", ".jsonl", ".md", ".csv")


class Refused(Exception):
    """A request cannot be served; ``status`` is the HTTP status that says so, ``field`` the part that is at fault."""

    def __init__(self, status: int, code: str, message: str, advice: str, field: str = ""):
        self.status, self.code, self.message, self.advice, self.field = status, code, message, advice, field
        super().__init__(message)


@dataclass(frozen=True)
class Source:
    """Where a model version lies and what its files must be: ``files`` and ``base_files`` map paths to sha256."""

    key: str
    folder: Path
    files: Mapping[str, str]
    base_folder: Path | None = None
    base_files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Source":
        """Validate the fields of a request; raises ``Refused``."""
        try:
            key, folder = value["key"], value["folder"]
            base = value.get("base_folder")
            files, base_files = value["files"], value.get("base_files") or {}
        except KeyError as error:
            raise Refused(422, "missing_field", f"The request lacks {error}.", "Add the field.") from None
        if not (isinstance(key, str) and key and isinstance(folder, str) and folder and isinstance(base, str | None)):
            raise Refused(422, "wrong_type", "key, folder and base_folder must be text.", "Correct the request.")
        for listed in (files, base_files):
            if not isinstance(listed, dict) or not all(isinstance(sha, str) for sha in listed.values()):
                raise Refused(422, "wrong_type", "files must map paths to sha256.", "Correct the request.")
            try:
                for path in listed:
                    check_relative_path(path, "A path in files")
            except SpecError as error:
                raise Refused(422, "bad_path", str(error), "Name files inside the folder.") from None
        return cls(key, Path(folder), files, Path(base) if base else None, base_files)

    @property
    def is_adapter(self) -> bool:
        """Return whether the version is a change to a base model rather than weights of its own."""
        return "adapter_config.json" in self.files

    def settings(self) -> dict[str, Any]:
        """Return ``serving.json``: ``task`` and ``max_length``; raises ``EngineError`` where it cannot be read."""
        try:
            value = json.loads((self.folder / "serving.json").read_text(encoding="utf-8"))
            return {**value, "task": str(value["task"]), "max_length": int(value["max_length"])}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise EngineError(
                "unsafe_model", "The model's serving.json is missing or not readable.", "Publish a complete version."
            ) from error

    def stored_bytes(self) -> int:
        """Return how large the weights are on disk, the base model's included."""
        weights = [self.folder / name for name in self.files if name.endswith(".safetensors")]
        if self.base_folder is not None:
            weights += [self.base_folder / name for name in self.base_files if name.endswith(".safetensors")]
        return sum(path.stat().st_size for path in weights if path.is_file())


def verify(source: Source) -> None:
    """Raise ``EngineError`` where a file of the version or of its base model is missing, changed or may run code."""
    loadable = [name for name in source.files if not name.endswith(RECORDS)]
    refuse_unsafe_names(loadable)
    verify_hashes(source.folder, source.files)
    refuse_unsafe_configs(source.folder, loadable)
    if "config.json" not in source.files or not any(name.endswith(".safetensors") for name in source.files):
        raise EngineError("unsafe_model", "The model has no config.json or no weights.", "Publish a complete version.")
    if (source.folder / "adapter_config.json").exists() and not source.is_adapter:
        raise EngineError("hash_mismatch", "The folder holds an adapter that is not listed.", "List all of its files.")
    if source.is_adapter and source.base_folder is None:
        raise EngineError("bad_spec", "This model is an adapter.", "Give the folder of its base model as well.")


def verify_generator(source: Source) -> None:
    """Do what ``verify`` does, and raise ``EngineError`` unless the weights are of an architecture that generates."""
    verify(source)
    folder, files = source.folder, source.files
    if source.is_adapter:
        assert source.base_folder is not None
        folder, files = source.base_folder, source.base_files
        refuse_unsafe_names(sorted(files))
        verify_hashes(folder, files)
        refuse_unsafe_configs(folder, sorted(files))
        if "config.json" not in files:
            raise EngineError("unsafe_model", "The base model has no config.json.", "Import it whole.")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = config.get("model_type") if isinstance(config, dict) else None
    if architecture not in GENERATORS:
        raise EngineError(
            "unsafe_model",
            f"The model's architecture {architecture!r} is not on the list for text generation.",
            f"Choose a model of one of these architectures: {', '.join(GENERATORS)}.",
        )
