"""What others import stays where the documentation has it, wherever in the package it lies."""

import importlib

import pytest

DOCUMENTED = {
    "genotype": ("Genotype", "random_genotype"),
    "network": ("DerivedNetwork",),
    "supernet": ("Supernet",),
    "decode": ("decode",),
    "config": ("Space", "SearchConfig", "TrainConfig", "EvaluateConfig"),
    "protocol": ("Protocol", "get"),
    "metrics": ("psnr", "ssim"),
    "data": ("bicubic",),
}


@pytest.mark.parametrize("module", DOCUMENTED)
def test_documented_names_are_those_of_the_wings(module):
    door = importlib.import_module(f"hinas_nb.{module}")
    for name in DOCUMENTED[module]:
        thing = getattr(door, name)
        wing = importlib.import_module(thing.__module__)
        assert getattr(wing, name) is thing and thing.__module__.startswith("hinas_nb.")
        assert module == "data" or thing.__module__ != door.__name__, "it lies in a wing"
