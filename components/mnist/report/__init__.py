"""The report of a run: charts, wording, page and summary."""
