"""Jobs that fetch bars: what is missing becomes chunks, which are fetched side by side and kept one by one."""
