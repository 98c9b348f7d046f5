"""Adapters to other tools. Each is imported on its own, and needs its extra, such as `steadystep[lightning]`."""
