"""TRL's ``GRPOTrainer`` and ``SFTTrainer`` behind the same contract as our own trainer."""
