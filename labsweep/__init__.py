"""The sweep: variants x seeds through one notebook, on one machine or a cluster."""

from labsweep.sweep import Run, Sweep

__all__ = ["Run", "Sweep"]
