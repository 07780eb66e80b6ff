"""Which base models may be loaded: safetensors of known architectures, byte for byte as specified, and no code."""

import json
from collections.abc import Mapping
from pathlib import Path

from training.engine.failures import EngineError
from training.engine.files import sha256_of

# Encoders whose last hidden state is one vector per token; all are part of transformers, so none needs remote code.
ARCHITECTURES = (
    "albert",
    "bert",
    "camembert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "modernbert",
    "mpnet",
    "roberta",
    "xlm-roberta",
)
# Decoders that generate text.
GENERATORS = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "smollm3")
SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".md", ".jinja")
BARE_NAMES = ("LICENSE", "NOTICE", ".gitattributes", "vocab", "merges")


def refuse_unsafe_names(names: list[str]) -> None:
    """Raise ``EngineError`` when a file may hold code or a pickle; only known harmless kinds pass."""
    for name in names:
        last = name.rsplit("/", 1)[-1]
        if not last.endswith(SUFFIXES) and last not in BARE_NAMES:
            raise EngineError(
                "unsafe_model",
                f"The model holds {name!r}, a kind of file that may run code when it is loaded.",
                "Use weights in safetensors format and remove scripts, pickles and .bin files from the model.",
            )


def refuse_unsafe_configs(folder: Path, names: list[str]) -> None:
    """Raise ``EngineError`` when a JSON file asks for remote code."""
    for name in names:
        if not name.endswith(".json"):
            continue
        try:
            value = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise EngineError(
                "unsafe_model", f"The model's file {name!r} is not readable JSON.", "Fetch the model again."
            ) from error
        if _mentions_auto_map(value):
            raise EngineError(
                "unsafe_model",
                f"The model's file {name!r} has an auto_map, which asks to run code that comes with the model.",
                "Choose a model that transformers supports by itself.",
            )


def _mentions_auto_map(value: object) -> bool:
    if isinstance(value, dict):
        return "auto_map" in value or any(_mentions_auto_map(item) for item in value.values())
    if isinstance(value, list):
        return any(_mentions_auto_map(item) for item in value)
    return False


def verify_hashes(folder: Path, files: Mapping[str, str]) -> None:
    """Raise ``EngineError`` unless every file of ``files`` lies in ``folder`` with the sha256 given there."""
    for name, expected in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise EngineError(
                "hash_mismatch",
                f"The file {name!r} is missing from the model folder.",
                "Import the base model again, or place its files on this worker.",
                retryable=True,
            )
        if sha256_of(path) != expected:
            raise EngineError(
                "hash_mismatch",
                f"The file {name!r} differs from the one that was approved.",
                "Restore the approved file from the store; if the change is wanted, register a new revision.",
                retryable=True,
            )


def admit_base_model(folder: Path, files: Mapping[str, str], families: tuple[str, ...] = ARCHITECTURES) -> str:
    """Check a base model before anything of it is loaded and return its architecture.

    ``files`` (path to sha256) is what was approved; the folder may hold other files, but none that could be loaded as
    part of the model. ``families`` are the architectures that fit what it is wanted for. Raises ``EngineError`` with
    code ``unsafe_model`` or ``hash_mismatch``.
    """
    names = sorted(files)
    refuse_unsafe_names(names)
    verify_hashes(folder, files)
    refuse_unsafe_configs(folder, names)
    for required in ("config.json", "tokenizer.json"):
        if required not in files:
            raise EngineError(
                "unsafe_model",
                f"The model has no {required}.",
                "Import the model with its configuration and tokenizer.",
            )
    if not any(name.endswith(".safetensors") for name in names):
        raise EngineError(
            "unsafe_model", "The model has no weights in safetensors format.", "Convert its weights to safetensors."
        )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = config.get("model_type") if isinstance(config, dict) else None
    if architecture not in families:
        raise EngineError(
            "unsafe_model",
            f"The model's architecture {architecture!r} is not on the list for this kind of training.",
            f"Choose a model of one of these architectures: {', '.join(families)}.",
        )
    return str(architecture)
