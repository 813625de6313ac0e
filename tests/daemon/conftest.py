from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def no_log_of_another_test() -> Iterator[None]:
    yield
    structlog.reset_defaults()
