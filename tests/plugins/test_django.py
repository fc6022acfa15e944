"""pytest-django: every worker has its own database, named for it."""

import pytest

SETTINGS = """
    SECRET_KEY = "x"
    INSTALLED_APPS = ["shop"]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.db", "TEST": {"NAME": "test_shop.db"}}}
    DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
    USE_TZ = True
    ROOT_URLCONF = "shop.urls"
"""
MODELS = """
    from django.db import models

    class Article(models.Model):
        name = models.CharField(max_length=50, unique=True)
"""
URLS = """
    from django.http import HttpResponse
    from django.urls import path

    urlpatterns = [path("", lambda request: HttpResponse("hello"))]
"""
TESTS = """
    import os
    import pathlib

    import pytest
    from django.db import connection
    from shop.models import Article

    # The same name in every test: with a shared database, the constraint would not hold.
    @pytest.mark.django_db
    @pytest.mark.parametrize("number", range(20))
    def test_article(number, worker_id):
        Article.objects.create(name="the only one")
        assert Article.objects.count() == 1
        name = pathlib.Path(connection.settings_dict["NAME"]).name
        assert worker_id in name or worker_id == "master"
        assert pathlib.Path(name).exists()

    @pytest.mark.django_db(transaction=True)
    def test_transaction():
        Article.objects.create(name="the only one")

    def test_no_access():
        Article.objects.count()

    def test_client(client):
        assert client.get("/").content == b"hello"

    def test_settings(settings):
        settings.SECRET_KEY = "other"

    def test_mail(mailoutbox):
        from django.core import mail

        mail.send_mail("subject", "body", "from@example.org", ["to@example.org"])
        assert len(mailoutbox) == 1
"""


@pytest.fixture
def shop(make_suite):
    suite = make_suite(installed=True)
    suite.ini("DJANGO_SETTINGS_MODULE = shop.settings\npythonpath = .\n")
    suite.file("shop/__init__.py", "")
    suite.file("shop/settings.py", SETTINGS)
    suite.file("shop/models.py", MODELS)
    suite.file("shop/urls.py", URLS)
    suite.file("test_shop.py", TESTS)
    return suite


def test_databases(shop):
    # Without the file, the base of the file of `test_shop.db` is in the directory, and removed at the end.
    shop.compare(what=lambda run: (run.files("*.db*"), run.lines("^FAILED|^django:")))


def test_reused_databases(shop):
    runs = shop.compare("--reuse-db", what=lambda run: run.files("*.db*"))
    for door in shop.doors:
        assert runs[door].files("*.db*") == ["test_shop.db_gw0", "test_shop.db_gw1"], runs[door]
        again = shop.run(door, "--reuse-db", keep=runs[door].directory)
        assert again.counts == runs[door].counts, again


@pytest.mark.thorough
def test_no_migrations(shop):
    shop.compare("--no-migrations", "--create-db", what=lambda run: run.lines("^FAILED|^django:"))
