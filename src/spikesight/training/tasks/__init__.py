"""What differs between the tasks of a run: batches, loss, validation, prediction, card."""
