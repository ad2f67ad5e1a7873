"""The providers that this machine has."""

import pytest

from beemesh_node.crypto import Provider, ProviderUnavailableError
from beemesh_node.crypto.liboqs import LiboqsProvider
from beemesh_node.crypto.pyca import PycaProvider


def usable_providers() -> list[Provider]:
    """`cryptography` always, `liboqs` where its C library is installed: what holds for one must hold for both."""
    try:
        return [PycaProvider(), LiboqsProvider()]
    except ProviderUnavailableError:
        return [PycaProvider()]


@pytest.fixture(params=usable_providers(), ids=lambda provider: provider.name, scope="session")
def provider(request: pytest.FixtureRequest) -> Provider:
    chosen: Provider = request.param
    return chosen
