"""Write the finished trials of a study to experiment trackers, for `--log`."""
