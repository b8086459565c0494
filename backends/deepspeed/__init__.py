"""Our trainer: GRPO and SFT on DeepSpeed, on 1..N processes."""
