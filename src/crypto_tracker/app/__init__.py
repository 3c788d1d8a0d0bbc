"""App: the composition root: clock, environment, files and the command line join the rooms here."""
