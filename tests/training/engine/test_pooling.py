"""Interpolated weights lie on the straight line between the untuned and the tuned model."""

from pathlib import Path

import pytest
import torch

from training.engine import pooling

LABELS = ("account", "hardware", "travel")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize("method", ["full", "lora"])
def test_interpolating_moves_the_merged_weights_along_a_line(tiny_base: Path, method: str) -> None:
    torch.manual_seed(3)
    model = pooling.new_classifier(tiny_base, LABELS, "mean")
    name = "encoder.encoder.layer.0.output.dense.weight"
    before, head = model.get_parameter(name).clone(), model.head.weight.clone()
    if method == "lora":
        model = pooling.add_lora(model, 4, 8, 0.0, "all-linear")
    start = pooling.trainable_weights(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)

    def merged() -> torch.Tensor:
        if method == "full":
            return model.get_parameter(name).clone()
        layer = model.get_base_model().get_submodule(name.removesuffix(".weight"))
        return before + layer.get_delta_weight("default").detach()

    tuned, tuned_head = merged(), pooling.trained_head(model).weight.clone()
    pooling.interpolate(model, start, 0.25)
    assert torch.allclose(merged(), torch.lerp(before, tuned, 0.25), atol=1e-6)
    assert torch.allclose(pooling.trained_head(model).weight, torch.lerp(head, tuned_head, 0.25), atol=1e-6)
    assert not torch.allclose(tuned, before, atol=1e-3)
