"""The library: ingest, train, evaluate and draw. Plain Python that never imports kfp."""
