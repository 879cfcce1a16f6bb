"""The Celery shell around the engine: the only importer of celery. Tasks carry ids, never bodies."""
