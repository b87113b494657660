import pytest
from slug import slug


@pytest.mark.parametrize(
    "title, want",
    [("Hello, World!", "hello-world"), ("  Crème brûlée  ", "creme-brulee"), ("100 %", "100"), ("", "")],
)
def test_slug(title, want):
    assert slug(title) == want
