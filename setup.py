"""What setup.cfg cannot say: the found packages, and beside them `corpora`, which is installed as minilm.corpora."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["minilm*"]), "minilm.corpora"])
