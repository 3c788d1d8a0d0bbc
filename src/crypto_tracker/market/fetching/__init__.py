"""Jobs that fetch bars: what is missing becomes chunks, fetched side by side and kept one by one."""
