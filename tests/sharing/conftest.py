"""The default data set, cut short."""

from __future__ import annotations

import pytest

from archipel.tasks import Classification, load


@pytest.fixture(scope="session")
def digits() -> Classification:
    return load("digits", images=120, test_images=40)
