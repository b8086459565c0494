"""Families keep the contract that is shipped for every family: ours, and one that a package offers
in a file of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from backends.base.engine import Request
from backends.base.family import ModelFamily
from backends.models import families
from backends.models.encoding import Encoder, EncodingError
from backends.models.families import ModelError
from backends.models.folders import load_model, load_processor, save_checkpoint
from backends.testing.families import FamilyContract
from benchmarks import plugins


class TestQwen2_5VL(FamilyContract):
    @pytest.fixture
    def family(self) -> ModelFamily:
        return families.family("qwen2_5_vl")

    @pytest.fixture
    def requests(self, picture: Callable[..., bytes]) -> list[Request]:
        return [
            Request("a", "How many? Count.", (picture(1),)),
            Request("b", "And here?", (picture(2, 56, 112), picture(3, 140, 84)), "Be brief."),
            Request("c", "1 + 1?"),
        ]


FAMILY = '''\
from backends.base.family import ModelFamily


class Qwen3(ModelFamily):
    """Qwen3, which reads text only."""

    model_type = "qwen3"
    version = "1"

    def language_model(self, model):
        return model.model
'''


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A package with the family above is installed."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "qwen3_family.py").write_text(FAMILY)
    info = folder / "qwen3_family-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: qwen3-family\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[harness.plugins]\nfamily.qwen3 = qwen3_family:Qwen3\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
        plugins.offered.cache_clear()
        yield
    plugins.offered.cache_clear()
    families.family.cache_clear()


@pytest.mark.usefixtures("offered")
class TestOneThatAPackageOffers(FamilyContract):
    @pytest.fixture
    def family(self) -> ModelFamily:
        return families.family("qwen3")

    @pytest.fixture
    def processor(self, processor: Any) -> Any:
        tokenizer = processor.tokenizer
        tokenizer.chat_template = processor.chat_template
        return tokenizer

    @pytest.fixture
    def model(self, processor: Any) -> PreTrainedModel:
        return qwen3(processor)

    def test_it_is_loaded_from_a_folder(
        self, model: PreTrainedModel, processor: Any, tmp_path: Path
    ) -> None:
        folder = save_checkpoint(model, processor, tmp_path / "qwen3")
        loaded = load_model(folder)
        assert all(map(torch.equal, loaded.parameters(), model.parameters()))
        assert load_processor(folder).chat_template == processor.chat_template

    def test_it_is_asked_nothing_with_a_picture(
        self, family: ModelFamily, processor: Any, picture: Callable[..., bytes]
    ) -> None:
        with pytest.raises(EncodingError, match="qwen3 models read text only"):
            Encoder(family, processor, 99).encode(Request("a", "?", (picture(1),)))

    def test_sliding_windows_are_refused(
        self, model: PreTrainedModel, processor: Any, tmp_path: Path
    ) -> None:
        model.config.layer_types = ["full_attention", "sliding_attention"]
        folder = save_checkpoint(model, processor, tmp_path / "qwen3")
        with pytest.raises(ModelError, match="without full causal attention"):
            load_model(folder)


def qwen3(tokenizer: Any) -> PreTrainedModel:
    """A tiny random one."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    return Qwen3ForCausalLM(config).eval()


def test_a_family_that_nobody_wrote_is_refused_with_what_to_write() -> None:
    with pytest.raises(ModelError, match=r"'qwen2_vl'.*did you mean 'qwen2_5_vl'.*ModelFamily"):
        families.family("qwen2_vl")
