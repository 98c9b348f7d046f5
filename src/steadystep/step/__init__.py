"""One step: measure, decide, apply or refuse, and enter it in the ledger."""
