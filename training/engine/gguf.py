"""``python -m training.engine.gguf FILE FOLDER``: turn a quantised GGUF file into safetensors that can be fine-tuned.

The weights are what the quantised ones decode to, not the ones that they were made from; whoever shows the model has to
say so. Nothing is fetched: configuration and tokenizer are read from the GGUF file itself.
"""

import argparse
import sys
from pathlib import Path

from training.engine import process

process.prepare_libraries()


def convert(source: Path, target: Path) -> None:
    """Write config, tokenizer and safetensors of the causal language model in ``source`` into the folder ``target``."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # Without dequantising first, transformers keeps the packed weights and cannot save them.
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)


def main() -> int:
    """Convert what the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.engine.gguf", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    if not options.source.is_file():
        parser.error(f"{options.source} is not a file")
    convert(options.source, options.target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
