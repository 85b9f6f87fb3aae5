"""One YAML an experiment, shipped as package data of `dfd_tf`."""
