import pickle

import pytest

from inril.errors import InputError, WrongContent


@pytest.mark.parametrize("kind", [InputError, WrongContent])
def test_an_error_crosses_from_a_worker_process_as_it_is(kind: type[InputError]) -> None:
    error = kind("demos.hdf5", field="obs", expected="numbers", got="text", hint="Download it again")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert vars(again) == vars(error)
    assert str(again) == str(error) == "demos.hdf5: obs: expected numbers, got text. Download it again"
