"""Published results: the mirror of results/ that DVC tracks, the store, and the ledger of what they cost."""
