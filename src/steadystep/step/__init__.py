"""One step: measure the gradients, decide, apply or refuse the update, and record the step in the ledger."""
