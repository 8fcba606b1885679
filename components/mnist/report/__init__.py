"""The report of a run: charts, pictures, wording, page and summary."""
