import pytest

from minigpt_np.layers import causal


@pytest.fixture(autouse=True)
def query_block_restored():
    """Puts causal.QUERY_BLOCK back, whatever a test has set it to."""
    before = causal.QUERY_BLOCK
    yield
    causal.QUERY_BLOCK = before
