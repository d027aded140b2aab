"""The sweep: variants x seeds through one notebook, on one machine or a cluster."""
