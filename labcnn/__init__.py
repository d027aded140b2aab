"""labcnn: controlled CNN ablations on Tiny ImageNet, from notebook to report."""

__version__ = "0.1.0"
