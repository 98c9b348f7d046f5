"""The lab: tasks, studies, statistics and reports for comparing optimizers. Requires the extra `steadystep[lab]`."""
