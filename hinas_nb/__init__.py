"""HiNAS: memory-efficient hierarchical neural architecture search for image restoration, as notebooks."""

__version__ = "0.1.0"
