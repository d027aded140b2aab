"""A run's saved net: its file, what it says of pictures, and its export."""

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from labcnn.data.batches import Batches
from labcnn.data.folder import read_picture
from labcnn.data.splits import IMAGE_SHAPE, Split
from labcnn.errors import RunError
from labcnn.files import write_atomically
from labcnn.models import ConvNet
from labcnn.recipe import Recipe
from labcnn.runs import MODEL, RunFolder
from labcnn.training.evaluate import BATCH_SIZE, mean_log_probability, views_of
from labcnn.training.hardware import Hardware, choose_hardware
from labcnn.variants import VARIANTS, Variant, register


class TrainedNet(nn.Module):
    """A run's best net in evaluation mode, from images as they are to class probabilities.

    Attributes
    ----------
    net : the network itself: normalised images N x 3 x H x W to logits N x C.
    recipe : of its run.
    class_names : C names, by label.
    mean, std : of the training images' channels, 3 each, on the scale 0-255.
    """

    def __init__(
        self,
        net: ConvNet,
        recipe: Recipe,
        class_names: Sequence[str],
        mean: Tensor,
        std: Tensor,
        hardware: Hardware,
    ) -> None:
        super().__init__()
        self.net, self.recipe, self.class_names = net, recipe, tuple(class_names)
        self.mean, self.std, self.hardware = mean, std, hardware
        self.eval()

    @torch.inference_mode()
    def forward(self, images: np.ndarray) -> Tensor:
        """Class probabilities N x C of images N x 64 x 64 x 3, uint8.

        As in the run's evaluation: the same size, views and precision, in batches of 500.

        Raises
        ------
        RunError
            The images are of another shape or type.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != IMAGE_SHAPE or not len(images):
            raise RunError(
                f"images of shape {images.shape} and type {images.dtype} can't be classified; "
                f"valid: N x {' x '.join(map(str, IMAGE_SHAPE))}, uint8"
            )
        split = Split(images, np.zeros(len(images), np.int64))
        batches = Batches(split, self.mean, self.std, self.hardware.device)
        parts = [
            mean_log_probability(self.net, views_of(x, self.recipe.test_views), self.hardware).exp()
            for x, _ in batches.in_order(BATCH_SIZE, self.recipe.last_size)
        ]
        return torch.cat(parts)

    def classify(self, pictures: Sequence[Path | str | np.ndarray], top: int = 5) -> pd.DataFrame:
        """The ``top`` most probable classes of each picture, the best first.

        Parameters
        ----------
        pictures : files of any size and format, or images 64 x 64 x 3, uint8.

        Returns
        -------
        DataFrame
            With ``picture``, ``rank`` from 1, ``class_name`` and ``probability``.

        Raises
        ------
        DataError
            A picture can't be read.
        """
        images = [p if isinstance(p, np.ndarray) else read_picture(p) for p in pictures]
        best = self(np.stack(images)).topk(min(top, len(self.class_names)))
        rows = [
            (
                f"image {k}" if isinstance(picture, np.ndarray) else str(picture),
                rank + 1,
                self.class_names[best.indices[k, rank]],
                best.values[k, rank].item(),
            )
            for k, picture in enumerate(pictures)
            for rank in range(best.indices.shape[1])
        ]
        return pd.DataFrame(rows, columns=["picture", "rank", "class_name", "probability"])

    def export_onnx(self, path: Path | str) -> None:
        """Write the network as ONNX: normalised images N x 3 x S x S, float32, to logits N x C.

        S is the size that the run was evaluated at. The file's metadata has ``class_names``,
        ``mean`` and ``std`` (of the channels, on the scale 0-255) and ``size``, as JSON. Needs the
        packages of ``labcnn[onnx]``.
        """
        try:
            import onnxscript  # noqa: F401
        except ImportError:
            raise RunError(
                "ONNX needs more packages: pip install -c constraints.txt -e '.[onnx]'"
            ) from None
        size = self.recipe.last_size
        net = copy.deepcopy(self.net).cpu().float().to(memory_format=torch.contiguous_format)
        program = torch.onnx.export(
            net, (torch.zeros(2, 3, size, size),), input_names=["images"], output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("N")},), dynamo=True, verbose=False,
        )  # fmt: skip
        assert program is not None
        notes = {
            "class_names": self.class_names, "mean": self.mean.tolist(), "std": self.std.tolist(),
            "size": size,
        }  # fmt: skip
        for name, value in notes.items():
            program.model.metadata_props[name] = json.dumps(value, ensure_ascii=False)
        write_atomically(Path(path), lambda to: program.save(str(to)))


def save_model(
    folder: Path,
    net: ConvNet,
    recipe: Recipe,
    precision: str,
    class_names: Sequence[str],
    mean: Tensor,
    std: Tensor,
) -> None:
    """Write ``model.safetensors`` into a run's folder: the weights, and the rest as metadata."""
    notes = {
        "recipe": recipe.model_dump_json(),
        "network": json.dumps(asdict(recipe.network)),
        "precision": precision,
        "class_names": json.dumps(class_names, ensure_ascii=False),
        "mean": json.dumps(mean.tolist()),
        "std": json.dumps(std.tolist()),
    }
    weights = {name: t.detach().cpu().contiguous() for name, t in net.state_dict().items()}
    write_atomically(folder / MODEL, lambda to: to.write_bytes(save(weights, notes)))


def load_model(run: RunFolder | Path | str, device: str = "auto") -> TrainedNet:
    """The trained net of a finished run.

    On the machine that trained it, with as many threads, it gives the very probabilities of
    ``predictions.npz``; elsewhere the last bits differ.

    Parameters
    ----------
    run : the run or its folder, ``report/logs/<experiment>/<variant>/seed<k>``.
    device : ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises
    ------
    RunError
        There is no such run, or its ``model.safetensors`` is missing, cut or foreign.
    ParameterError
        The device isn't on this machine, or the variant isn't known here.
    """
    path = (run.path if isinstance(run, RunFolder) else Path(run)) / MODEL
    if not path.exists():
        if not path.parent.is_dir():
            raise RunError(
                f"{path.parent}: there is no such run; valid: .../EXPERIMENT/VARIANT/seedK below "
                "the logs"
            )
        raise RunError(f"{path} is missing; the weights aren't in git: train the run anew")
    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata()
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        values = json.loads(notes["recipe"])
        if values["variant"] not in VARIANTS and "network" in notes:
            register(values["variant"], Variant(**json.loads(notes["network"])))
        recipe = Recipe(**values)
        class_names = json.loads(notes["class_names"])
        precision = notes["precision"]
        net = ConvNet(recipe.network, recipe.width, len(class_names), recipe.dropout_rate)
        net.to(torch.float64 if precision == "fp64" else torch.float32).load_state_dict(weights)
        mean, std = (torch.tensor(json.loads(notes[name])) for name in ("mean", "std"))
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{path}: cut or no model of this labcnn ({reason})") from None
    hardware = choose_hardware(device, precision)
    net = net.to(hardware.device).to(memory_format=torch.channels_last)
    return TrainedNet(
        net, recipe, class_names, mean.to(hardware.dtype), std.to(hardware.dtype), hardware
    )
