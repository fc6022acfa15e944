import pytest


@pytest.fixture(scope="session")
def company():
    return {"boats": ["Heron", "Puffin", "Tern"], "berths": {}}


@pytest.fixture(scope="module")
def harbor(company):
    company["berths"] = dict.fromkeys(range(1, 5))
    yield company["berths"]
    company["berths"] = {}


@pytest.fixture(params=["Heron", "Puffin", "Tern"])
def boat(request, harbor):
    berth = next(number for number, moored in harbor.items() if moored is None)
    harbor[berth] = request.param
    yield request.param
    harbor[berth] = None
