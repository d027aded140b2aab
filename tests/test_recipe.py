import itertools

import pytest

from labcnn.errors import ParameterError
from labcnn.recipe import DATASETS, Recipe, defaults
from labcnn.request import RunRequest
from labcnn.variants import VARIANTS


def recipe(**parameters):
    return Recipe.from_parameters({"variant": "short_all", **parameters})


def test_every_variant_gets_the_same_recipe():
    """A comparison changes the switches it names and nothing else."""
    for dataset, protocol in itertools.product(DATASETS, ("course", "tuned")):
        made = [
            Recipe.from_parameters({"variant": name, "protocol": protocol, "dataset": dataset})
            for name in VARIANTS
        ]
        assert len({str(r.shared) for r in made}) == 1
        assert {r.experiment for r in made} == {made[0].experiment}


#: What is given beside the variant, and what the line must say.
WRONG: list[tuple[dict[str, object], list[str]]] = [
    ({"varient": "short_all"}, ["varient='short_all'", "did you mean 'variant'", "seed"]),
    ({"protocol": "tuned", "momentum": 0.0}, ["momentum=0.0", "nesterov=True", "above 0"]),
    ({"optimizer": "adamw", "nesterov": True}, ["nesterov=True", "optimizer='adamw'"]),
    ({"optimizer": "muon", "weight_decay": 0.1}, ["weight_decay=0.1", "optimizer='muon'"]),
    ({"experiment": "../a b"}, ["experiment='../a b'", r"match pattern '^[\w]"]),
    ({"epochs": -3}, ["epochs=-3", "greater than or equal to 1"]),
    ({"epochs": True}, ["epochs=True"]),
    ({"epochs": 1000.0}, ["epochs=1000.0", "valid integer"]),
    ({"learning_rate": float("nan")}, ["learning_rate=nan", "less than or equal to 100"]),
    ({"overwrite": "maybe"}, ["overwrite='maybe'", "valid boolean"]),
    ({"test_views": 3}, ["test_views=3", "1, 2 or 6"]),
]


def test_a_bad_value_gets_one_line_with_the_value_and_what_is_valid(logs, subtests):
    for parameters, words in WRONG:
        with subtests.test(str(parameters)):
            with pytest.raises(ParameterError) as error:
                RunRequest.from_parameters({"variant": "short_all", **parameters})
            message = str(error.value)
            assert "\n" not in message
            assert [word for word in words if word not in message] == []
            assert not logs.exists()


def test_an_experiments_name_holds_what_differs_from_the_defaults():
    """Two recipes that can't be compared never get the same derived name."""
    assert recipe(seed=5, variant="long_norm", epochs=None).experiment == "shapes"
    assert recipe(**defaults("shapes", "course")).experiment == "shapes"
    assert recipe(protocol="tuned", augment=False).experiment == "shapes-tuned-augment-false"
    named = recipe(dataset="tiny-imagenet-200", fraction=0.1, epochs=5).experiment
    assert named == "tiny-imagenet-200-10pct-5ep"
    changed = {
        "dataset": "tiny-imagenet-200",
        "protocol": "tuned",
        "decay": "one_cycle",
        "optimizer": "muon",
        "first_size": 40,
        "last_size": 48,
        "test_views": 2,
    }
    base = recipe()
    for field, value in base.shared.items():
        if field in changed:
            new = changed[field]
        elif isinstance(value, bool):
            new = not value
        elif isinstance(value, int):
            new = value + 1
        else:
            new = value / 2 if value else 0.125
        assert recipe(**{field: new}).experiment != base.experiment, field


def test_a_recipe_is_frozen_survives_json_and_takes_none_for_the_protocols_value():
    assert recipe(epochs=None, dataset="tiny-imagenet-200").epochs == 18
    made = recipe(fraction=0.5)
    with pytest.raises(Exception, match="frozen"):
        made.epochs = 3
    assert Recipe.model_validate_json(made.model_dump_json()) == made


def test_a_requests_folder_and_what_papermill_reads_as_another_type(logs):
    request = RunRequest.from_parameters({"variant": "long_norm", "dataset": "shapes", "seed": 3})
    assert request.folder.path == logs / "shapes" / "long_norm" / "seed3"
    named = RunRequest.from_parameters({"variant": "long_norm", "experiment": "mine"})
    assert named.folder.path == logs / "mine" / "long_norm" / "seed0"
    assert not named.overwrite
    for text, value in (("true", True), ("False", False), (True, True)):  # as papermill passes it
        given = {"variant": "short_all", "overwrite": text}
        assert RunRequest.from_parameters(given).overwrite is value
    digits = RunRequest.from_parameters({"variant": "long_norm", "experiment": 2024})
    assert digits.experiment_name == "2024"
