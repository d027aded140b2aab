"""What notebooks call: their own parameters, and the steps of a run, each asked for by a cell.

A cell may be run twice, or out of order: what it misses, or what is out of date, is one line.
"""

import ast
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython

from labcnn.data import load_dataset
from labcnn.data.splits import ImageData
from labcnn.errors import ParameterError, RunError, require_addresses
from labcnn.recipe import refuse_unknown
from labcnn.request import RunRequest
from labcnn.runs import RunFolder, RunResult

if TYPE_CHECKING:  # seconds, which a notebook that trains nothing doesn't spend
    from labcnn.models import ConvNet
    from labcnn.training.trainer import Watcher

#: First line of the cell with a notebook's parameters, and of the cell that papermill adds.
PARAMETERS, INJECTED = "# parameters", "# Parameters"
#: What the cells of our notebooks set, each with what the cell that sets it says.
SET_BY = {
    "request": "request = read_request()",
    "data": "data = load_data(request)",
    "result": "result = train(request, data, watch(request))",
    "study": "study = load_study(...)",
    "facts": "facts = Facts(...)",
}
#: The parameters that this process read a request from.
_parameters_of: dict[RunRequest, dict[str, Any]] = {}


def read_parameters() -> dict[str, Any]:
    """The parameters of the notebook that calls this, as its cells set them.

    papermill only warns of a parameter that the notebook doesn't have, and runs the defaults. So
    the names are read from the cells that ran: the latest that begins with ``# parameters``, and
    the one that papermill adds, which begins with ``# Parameters``.

    Raises
    ------
    ParameterError
        papermill gave a name that the notebook's own cell doesn't have; or that cell didn't run.
    """
    shell = get_ipython()
    namespace: dict[str, Any] = shell.user_ns if shell else {"In": []}
    cells = {source.partition("\n")[0].strip(): source for source in namespace["In"]}
    if PARAMETERS not in cells:
        raise ParameterError(f"no parameters: run the cell that begins with {PARAMETERS!r} first")
    own = assigned_names(cells[PARAMETERS])
    given = assigned_names(cells.get(INJECTED, ""))
    refuse_unknown({name: namespace[name] for name in given}, own)
    return {name: namespace[name] for name in own}


def assigned_names(source: str) -> list[str]:
    """The variables that a cell sets, in order."""
    names = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))
    return [name.id for name in names if isinstance(name.ctx, ast.Store)]


def read_request() -> RunRequest:
    """What the parameters of the notebook that calls this ask for.

    Raises
    ------
    ParameterError
        A parameter is unknown or isn't valid.
    RunError
        The kernel may have too little memory for torch, whose import would hang.
    """
    require_addresses()
    parameters = read_parameters()
    request = RunRequest.from_parameters(parameters)
    _parameters_of[request] = parameters
    return request


def require_current(request: RunRequest) -> None:
    """Raise a :class:`RunError` if the parameters' cell was run again after ``request`` was read.

    What is shown or trained then would be another run than the one that the notebook says.
    """
    if request not in _parameters_of:  # made by hand: it says all by itself
        return
    before, now = _parameters_of[request], read_parameters()
    for name, value in now.items():
        if name not in before or before[name] != value:
            raise RunError(
                f"{name} is {value!r} by now, this request has {before.get(name)!r}: run the cell "
                f"with `{SET_BY['request']}` again, and those below it"
            )


def require_result(request: RunRequest) -> RunFolder:
    """The run's folder; a :class:`RunError` if the run isn't finished, or isn't the current one."""
    require_current(request)
    if not request.folder.finished:
        raise RunError(
            f"{request.recipe.variant} seed {request.recipe.seed} of {request.experiment_name} has "
            f"no result yet: first run the cell with `{SET_BY['result']}`"
        )
    return request.folder


def load_data(request: RunRequest) -> ImageData:
    """The request's data set, with its three splits."""
    require_current(request)
    return load_dataset(request.recipe.dataset, request.recipe.fraction)


def build_network(request: RunRequest, data: ImageData) -> "ConvNet":
    """The request's network with its initial weights."""
    from labcnn.models import ConvNet

    require_current(request)
    recipe = request.recipe
    return ConvNet(recipe.network, recipe.width, data.classes, recipe.dropout_rate, recipe.seed)


def train(request: RunRequest, data: ImageData, watcher: "Watcher | None" = None) -> RunResult:
    """Train what ``request`` asks for, by :func:`labcnn.training.trainer.fit`.

    A line is printed for each epoch; what else is shown meanwhile is the watcher's.
    """
    from labcnn.training.trainer import fit

    require_current(request)
    return fit(request, data, watcher)


def _explain_missing_name(
    shell: Any, kind: type, error: Any, trace: Any, tb_offset: int | None = None
) -> None:
    """Say in one line which cell sets a name of our notebooks that isn't there yet."""
    if cell := SET_BY.get(error.name):
        kind = RunError
        error = RunError(
            f"{error.name} isn't there yet: first run the cell with `{cell}`, and those above it "
            "(Run > Run All Above Selected Cell)"
        )
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)


# At import, as a cell that misses a name calls nothing.
if shell := get_ipython():
    shell.set_custom_exc((NameError,), _explain_missing_name)
