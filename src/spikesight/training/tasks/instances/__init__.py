"""Objects found by boxes and masks."""
