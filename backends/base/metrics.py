"""What ``metrics.jsonl`` says of a step: names that plots and tracking read, and what they mean.

A trainer writes one JSON object a step. ``step`` and the seconds of its phases are expected; of the
others each writes what it knows, under these names. Numbers that are not finite are left out. What
a user's own reward function counts may be there beside them, and is tracked under its name.
"""

from __future__ import annotations

#: name -> what it means. Means are over the step's groups, on all ranks, unless something else is
#: said.
METRICS = {
    "step": "steps done, from 1",
    "lr": "learning rate of the step's updates",
    "loss": "loss, mean over the step's updates",
    "grad_norm": "norm of the gradient before clipping, mean over the updates where it was finite",
    "value_loss": "loss of the critic, mean over the step's updates",
    "skipped_steps": "updates whose gradient was not finite: the weights stayed as they were",
    "idle_updates": "updates that were not made because all groups agreed",
    # Rewards and answers of what the policy sampled.
    "reward": "mean reward of the responses that have one",
    "accuracy": "share of responses that agree with the label, where there is one; never a reward",
    "label_accuracy": "share of groups whose vote agrees with the label; never a reward",
    "majority_ratio": "share of a group that agrees with its vote",
    "semantic_entropy": "entropy of a group's answers, in nats",
    "unparsed": "share of responses without an answer",
    "truncated": "share of responses that ended by length",
    "response_length": "tokens of a response",
    "unscored": "responses without a reward, in all",
    "zero_variance_groups": "groups whose responses all have one reward, in all",
    "unusable_groups": "groups in which no response has a reward, in all",
    "replaced_questions": "dynamic sampling: turns after which groups were replaced, in all",
    "external_share": "share of a group that other models wrote",
    "external_reward": "mean reward of what other models wrote",
    "external_dropped": "responses of other models that were left out, in all",
    "contrast_kept": "groups whose last response gave way to one with another reward, in all",
    # What reward functions count themselves.
    "reward_errors": "groups whose reward function failed, in all",
    "ties": "groups whose vote was tied, in all",
    "unlabelled": "groups of questions without a label that can be read, in all",
    "missing_won": "share of groups in which no answer at all won the vote",
    "thinking": "share of responses with a thought",
    "overlong": "share of responses that pay for their length",
    # The loss, over trained tokens.
    "kl": "KL(policy || reference) as the stage estimates it, over tokens that the policy sampled",
    "clip_share": "share of tokens that the clips silenced",
    "engine_gap": "distance of the engine's log-probability of a token from the trainer's",
    "engine_factor": "exp of that distance, 1 where they agree",
    "entropy": "entropy of the policy's distribution of a token, in nats",
    "reward_margin": "dpo: implicit reward of the chosen over that of the rejected response",
    "preference_accuracy": "dpo: share of pairs whose chosen response has the greater one",
    # What went into the step, in all.
    "dropped_prompts": "questions that were too long, or had nothing to learn",
    "sampled_tokens": "tokens that the engine sampled, groups included that were replaced",
    "pictures": "pictures of all groups",
    "tokens": "tokens of the responses that were trained on",
    "device_seconds": "seconds of the phases, times devices",
    # The phases, in seconds; a phase within a phase counts once.
    "seconds_rollout": "sampling and encoding",
    "seconds_reward": "reward functions",
    "seconds_reference": "log-probabilities before the update and of the reference, and values",
    "seconds_update": "forward, backward and optimizer",
}
