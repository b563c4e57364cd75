"""Names of models: what they stand for, the same in Python as on the command line, and refusals that name what would work."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import advise, predict, trace
from landscape.tracing.model_names import model_factory
from lattice import Conv, Lattice, SpecificationError, families

FILE = """from torch import nn

def small():
    return nn.Sequential(nn.Conv1d(1, 64, 3, padding=1), nn.Flatten(), nn.Linear(384, 2))
"""


@pytest.fixture
def name(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    return f"{tmp_path / 'mine.py'}:small"


def test_predict_trace_and_advise_take_the_commands_names(name):
    factory = model_factory(name)
    found, expected = predict(name, (1, 6), initialisation="he"), predict(factory, (1, 6), initialisation="he")
    np.testing.assert_array_equal(found.squared, expected.squared)
    assert trace(name, (1, 6), initialisation="he").lattice == expected.lattice
    assert advise(name, (1, 6), initialisation="he").before.lattice == expected.lattice


def test_a_torchvision_name_is_a_factory_of_fresh_models():
    one, other = (model_factory("squeezenet1_1")() for _ in range(2))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))
    with pytest.raises(SpecificationError, match="did you mean resnet18"):
        predict("resnet_18", (3, 32, 32))


def test_a_name_of_timm_is_created_without_weights(monkeypatch):
    made = []

    def create_model(name, pretrained):
        made.append((name, pretrained))
        return nn.Identity()

    models = ["resnet50d", "resnet10t"]
    stub = SimpleNamespace(create_model=create_model, is_model=models.__contains__, list_models=lambda: models)
    monkeypatch.setitem(sys.modules, "timm", stub)
    model_factory("timm:resnet50d")()
    assert made == [("resnet50d", False)]
    with pytest.raises(SpecificationError, match="timm has no model 'resnet50'; did you mean resnet50d"):
        model_factory("timm:resnet50")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SpecificationError, match="timm:resnet50d needs timm: pip install timm"):
        model_factory("timm:resnet50d")


def test_a_hub_repository_that_was_fetched_is_read_and_none_is_fetched(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(SpecificationError, match=r"has not fetched who/what.*torch\.hub\.list\('who/what'\)"):
        model_factory("hub:who/what:small")
    (tmp_path / "who_what_main").mkdir()
    (tmp_path / "who_what_main" / "hubconf.py").write_text(FILE)
    assert isinstance(model_factory("hub:who/what:small")(), nn.Sequential)
    assert isinstance(model_factory("hub:who/what:main:small")(), nn.Sequential)
    with pytest.raises(SpecificationError, match="Cannot find callable large"):
        predict("hub:who/what:large", (1, 6))
    for wrong in ("hub:small", "hub:who/what", "hub:", "hub:a/b/c:small"):
        with pytest.raises(SpecificationError, match="is not of the form"):
            model_factory(wrong)


def test_american_spellings_are_understood():
    net = Lattice.chain((1, 5), [Conv(2, 3)])
    assert predict(net, initialization=0.5).squared.tolist() == predict(net, initialisation=0.5).squared.tolist()
    assert trace(lambda: nn.Sequential(nn.Conv1d(1, 2, 3)), (1, 5), initialization=0.5).variances.popitem()[1] == 0.5
    assert advise(families.plain(8, depth=1), initialization=0.5).before.variances == {"conv1": 0.5}
    assert landscape.initialization is landscape.initialisation
    with pytest.raises(SpecificationError, match="are one argument"):
        predict(net, initialization=0.5, initialisation=0.5)


def test_a_file_without_a_factory_is_told_which_it_has(tmp_path):
    (tmp_path / "mine.py").write_text("from torch import nn\ndef small(): ...\nclass Net(nn.Module): ...\n")
    with pytest.raises(
        SpecificationError, match=r"mine.py is a file: name a factory in it, .*mine.py:NAME; it has Net, small$"
    ):
        model_factory(str(tmp_path / "mine.py"))
    with pytest.raises(SpecificationError, match="did you mean resnet18"):
        model_factory("ResNet18")
