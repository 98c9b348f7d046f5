"""The published reports, computed again from their records with numpy and scipy alone."""
