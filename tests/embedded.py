"""The demo hospital's keys in the embedded store, for tests that are of that store alone."""

from __future__ import annotations

import pytest

from tests.service.conftest import Template


@pytest.fixture(name="keys")
def keys_fixture(template: Template) -> dict[str, str]:
    """Role → the key's text."""
    return template.keys
