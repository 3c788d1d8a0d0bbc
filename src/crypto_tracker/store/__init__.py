"""Store: the only memory: bars hot and cold behind one reader, and the records of what was decided."""
