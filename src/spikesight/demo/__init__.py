"""The main job, end to end, in three minutes."""
