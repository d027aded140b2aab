"""labcnn: controlled CNN ablations on Tiny ImageNet, from notebook to report."""

from typing import TYPE_CHECKING, Any

from labcnn.variants import Variant, register

if TYPE_CHECKING:
    from labcnn.training.trained_net import load_model as load_model

__all__ = ["Variant", "load_model", "register"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """``labcnn.load_model``, which alone needs torch here, is imported when it is used."""
    if name == "load_model":
        from labcnn.training.trained_net import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
