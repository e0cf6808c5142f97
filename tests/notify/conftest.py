"""The service's fixtures, and a receiver of notifications."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.embedded import keys_fixture
from tests.notify.receiver import Receiver, receiving
from tests.service.conftest import anyio_backend, store_template, template

__all__ = ["anyio_backend", "keys_fixture", "store_template", "template"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made
