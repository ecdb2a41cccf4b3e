"""From a content to what a model's graph reads; one file a modality."""
