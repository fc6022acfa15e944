import sys

import pytest


@pytest.mark.parametrize("page", range(1, 25))
def test_page_is_legible(page):
    print(f"page {page}: calm sea, full speed")
    assert page


def test_ink_is_dry():
    print("08:10 left the near island, 31 passengers, 2 dogs")
    print("08:25 one dog found to be a goat", file=sys.stderr)
    passengers, dogs = 31, 2
    assert passengers + dogs == 31 + 2 + 1, "somebody was not counted"


def test_signature(record_property):
    record_property("captain", "Ada")
    name = "A. Captain"
    assert name.startswith("Ada")
