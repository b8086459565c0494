"""What trainers share: questions, samples, figures, schedules, worker processes."""
