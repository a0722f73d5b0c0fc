"""What an experiment is made of: schemas, composition with Hydra, search spaces."""
