"""The spec of a job: the YAML file, what may stand in it, and the specs that are shipped."""
