import pytest

# The longest first, and those that wait for a cluster beside those that compute: two processes then end together.
ORDER = ("slurm", "workflow", "integration", "remotes", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next(i for i, folder in enumerate(ORDER) if f"tests/{folder}/" in item.path.as_posix()))
