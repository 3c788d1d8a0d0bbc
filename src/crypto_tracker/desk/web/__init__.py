"""The API under `/api/v1`, its live stream, and the files of the page. It knows only `desk.source`."""
