"""The spec of a job: the YAML file, its fields, and the shipped specs."""
