"""CORD-19 as published (L. L. Wang et al., "CORD-19: The COVID-19 Open Research Dataset", arXiv:2004.10706)."""


class Cord19:
    def __init__(self, path):
        raise NotImplementedError
