"""The lab: tasks, studies, statistics and reports about the optimizers. Needs the extra `steadystep[lab]`."""
