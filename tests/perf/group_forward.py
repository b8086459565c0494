"""Our update and our sampler beside stock Hugging Face, on one thread of this machine.

Run: ``python tests/perf/group_forward.py [repeats]``. Prints median CPU seconds, and the ratio of
each pair with its spread (lowest to highest of the paired repeats). Same model, same prompts,
same tokens on both sides:

* update: forward and backward of the mean log-probability of all response tokens; the stock side
  runs every (prompt, response) as its own row of one padded batch, pictures repeated;
* sampling: exactly 16 new tokens a sample at temperature 1, the stock side with ``generate`` and
  ``num_return_sequences``.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from backends.base.engine import Request, Sampling
from backends.deepspeed.policy.packing import pack
from backends.deepspeed.policy.policy import Policy
from backends.engines.hf import HFEngine
from backends.models.encoding import Encoder
from backends.models.families import family
from backends.models.pictures import joined
from backends.models.prompt import Prompt
from backends.training.groups import Group

PROMPTS, GROUP, NEW = 32, 8, 16


def tiny_world_sized(processor, seed: int = 0) -> PreTrainedModel:
    """0.56 M weights: the sizes of the tiny world's model."""
    ids = processor.tokenizer.get_vocab()
    torch.manual_seed(seed)
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config={
                "vocab_size": len(ids),
                "hidden_size": 96,
                "intermediate_size": 256,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "bos_token_id": None,
                "eos_token_id": ids["<|im_end|>"],
                "pad_token_id": ids["<|endoftext|>"],
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 10000.0,
                    "mrope_section": [4, 4, 4],
                },
                "tie_word_embeddings": True,
            },
            vision_config={
                "depth": 2,
                "hidden_size": 64,
                "intermediate_size": 128,
                "num_heads": 4,
                "out_hidden_size": 96,
                "fullatt_block_indexes": [0, 1],
            },
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
            tie_word_embeddings=True,
        )
    )


def stock_batch(groups: list[Group], image: int, pad: int) -> dict[str, Tensor]:
    """Every (prompt, response) as a row, right-padded; the pictures repeated."""
    rows = [torch.cat([g.prompt.input_ids, torch.tensor(r)]) for g in groups for r in g.responses]
    ids = pad_sequence(rows, batch_first=True, padding_value=pad)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    prompts = [g.prompt for g in groups for _ in g.responses]
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "mm_token_type_ids": (ids == image).int(),
        **joined([picture for p in prompts for picture in p.pictures]),
    }


def stock_update(model: PreTrainedModel, groups: list[Group], pad: int) -> Tensor:
    batch = stock_batch(groups, model.config.image_token_id, pad)
    logits = model(**batch).logits.float()[:, :-1]
    logp = logits.log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    lengths = [(len(g.prompt), len(r)) for g in groups for r in g.responses]
    picked = [row[p - 1 : p - 1 + n] for row, (p, n) in zip(logp, lengths, strict=True)]
    loss = -torch.cat(picked).mean()
    loss.backward()
    return loss.detach()


def packed_update(policy: Policy, groups: list[Group]) -> Tensor:
    loss = -policy(pack(groups, "cpu"), 1.0).mean()
    loss.backward()
    return loss.detach()


def stock_generate(model: PreTrainedModel, prompts: list[Prompt], pad: int) -> Tensor:
    ids = pad_sequence(
        [p.input_ids for p in prompts], batch_first=True, padding_value=pad, padding_side="left"
    )
    ones = [torch.ones_like(p.input_ids) for p in prompts]
    return model.generate(
        input_ids=ids,
        attention_mask=pad_sequence(ones, batch_first=True, padding_side="left"),
        mm_token_type_ids=(ids == model.config.image_token_id).int(),
        **joined([picture for p in prompts for picture in p.pictures]),
        do_sample=True,
        top_k=0,
        num_return_sequences=GROUP,
        max_new_tokens=NEW,
        min_new_tokens=NEW,
    )


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds: on one thread the same as wall seconds, and blind to who else uses the
    machine."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(
    name: str, stock: Callable[[], object], ours: Callable[[], object], repeats: int
) -> None:
    """Alternate the two, so that a busy machine disturbs both alike."""
    stock(), ours()
    pairs = [(seconds(stock), seconds(ours)) for _ in range(repeats)]
    ratios = [a / b for a, b in pairs]
    print(
        f"{name:28s} stock {statistics.median(a for a, _ in pairs):.3f} s   "
        f"ours {statistics.median(b for _, b in pairs):.3f} s   "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def main(repeats: int) -> None:
    torch.set_num_threads(1)
    spec = spec_from_file_location("tiny", Path(__file__).parents[1] / "backends" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    tiny = module_from_spec(spec)
    spec.loader.exec_module(tiny)
    processor = tiny._processor()
    model = tiny_world_sized(processor)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M weights, {PROMPTS} prompts")

    encoder = Encoder(family("qwen2_5_vl"), processor, 512)
    rng = random.Random(0)
    requests = [Request(str(i), "sum AB", (tiny._picture(i),)) for i in range(PROMPTS)]
    prompts = [prompt for r in requests if (prompt := encoder.encode(r)) is not None]
    print(f"group {GROUP}, prompts of {len(prompts[0])} tokens with a picture each")
    for name, low in (("update, 16 tokens each", NEW), ("update, 4 to 16 tokens", 4)):
        groups = [
            Group(p, [rng.choices(range(256), k=rng.randint(low, NEW)) for _ in range(GROUP)])
            for p in prompts
        ]
        policy = Policy(model, ())
        a, b = stock_update(model, groups, encoder.pad_id), packed_update(policy, groups)
        assert torch.allclose(a, b, rtol=1e-5), (a, b)
        compare(
            name,
            lambda groups=groups: stock_update(model, groups, encoder.pad_id),
            lambda groups=groups, policy=policy: packed_update(policy, groups),
            repeats,
        )

    # A stop token that cannot come: both sides must sample all 16 tokens.
    engine = HFEngine(model.eval(), encoder)
    engine.stop_ids = (-1,)
    sampling = Sampling(n=GROUP, temperature=1.0, max_tokens=NEW)
    ids = [r.id for r in requests]
    compare(
        "sampling, 16 new tokens",
        lambda: stock_generate(model, prompts, encoder.pad_id),
        lambda: list(engine.generate_encoded(prompts, ids, sampling)),
        repeats,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
