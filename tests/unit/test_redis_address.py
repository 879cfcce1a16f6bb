"""What the URL of Redis may say, and what is told to who wrote it otherwise."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hub.redis_address import ClusterNodes, Host, OneServer, Sentinels, read_address
from hub.settings import Settings
from tasks.config import configuration

SENTINELS = "redis+sentinel://ann:s%40cret@h1:26380,h2,[::1]:26379/hub/2?ssl_cert_reqs=none"


@pytest.fixture(autouse=True)
def no_broker_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUB_BROKER_URL", raising=False)


class TestReading:
    @pytest.mark.parametrize("url", ["redis://h/0", "rediss://u:p@h:1", "unix:///tmp/x.sock"])
    def test_one_server_is_left_as_it_is(self, url: str) -> None:
        assert read_address(url) == OneServer(url)

    def test_sentinels(self) -> None:
        address = read_address(SENTINELS)
        assert isinstance(address, Sentinels)
        assert address.hosts == (Host("h1", 26_380), Host("h2", 26_379), Host("::1", 26_379))
        assert (address.master, address.db) == ("hub", 2)
        assert address.master_url(Host("m", 7)) == "redis://ann:s%40cret@m:7/2?ssl_cert_reqs=none"
        assert address.sentinel_url(address.hosts[2]) == "redis://[::1]:26379?ssl_cert_reqs=none"

    def test_sentinels_may_have_a_login_of_their_own(self) -> None:
        address = read_address("rediss+sentinel://h1/hub?sentinel_password=a%2Fb")
        assert isinstance(address, Sentinels)
        assert address.sentinel_url(address.hosts[0]) == "rediss://:a%2Fb@h1:26379"
        assert address.master_url(Host("m", 7)) == "rediss://m:7/0"
        assert address.sentinel_login() == {"password": "a/b"}

    def test_a_cluster(self) -> None:
        address = read_address("rediss+cluster://:pw@h1:7000,h2")
        assert address == ClusterNodes("rediss", (Host("h1", 7_000), Host("h2", 6_379)), ":pw", "")
        assert address.node_url(Host("fe80::1", 1)) == "rediss://:pw@[fe80::1]:1"

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("http://h", "http:// is no way to Redis"),
            ("redis+ring://h", r"redis\+ring:// is no way to Redis"),
            ("unix+cluster:///x", r"unix\+cluster:// is no way"),
            ("redis+sentinel://h1,h2", "name of the master"),
            ("redis+sentinel://h1/hub/first", "a number, not 'first'"),
            ("redis+sentinel:///hub", "no host is given"),
            ("redis+cluster://h1:x", "'h1:x' is no host with a port"),
            ("redis+cluster://:pw@h1:99999", "'h1:99999' is no host with a port"),
            ("redis+cluster://h1/3", "one database 0"),
            ("redis+cluster://:6379", "has no host"),
        ],
    )
    def test_what_cannot_be_read_is_told_in_a_sentence(self, url: str, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            read_address(url)


class TestSettings:
    def test_a_wrong_url_names_the_setting_and_not_the_password(self) -> None:
        with pytest.raises(ValidationError, match=r"HUB_REDIS_URL: .*no host with a port") as caught:
            Settings(redis_url="redis+cluster://:geheim@h:0", broker_url="redis://h")
        assert "geheim" not in str(caught.value.errors(include_input=False)[0]["msg"])

    def test_celery_takes_the_same_sentinels(self) -> None:
        made = configuration(Settings(redis_url=SENTINELS + "&sentinel_password=pw"))
        first, second, third = made["broker_url"].split(";")
        assert first == "sentinel://ann:s%40cret@h1:26380/2"
        assert second == "sentinel://ann:s%40cret@h2:26379/2"
        assert third == "sentinel://ann:s%40cret@[::1]:26379/2"
        options = made["broker_transport_options"]
        assert options["master_name"] == "hub"
        assert options["sentinel_kwargs"] == {"password": "pw"}
        assert "broker_use_ssl" not in made

    def test_tls_to_the_master_is_tls_for_celery(self) -> None:
        assert "broker_use_ssl" in configuration(Settings(redis_url="rediss+sentinel://h1/hub"))

    def test_a_broker_of_its_own_is_not_touched(self) -> None:
        settings = Settings(redis_url=SENTINELS, broker_url="redis://other:6379/1")
        assert settings.broker == "redis://other:6379/1"
        assert "master_name" not in configuration(settings)["broker_transport_options"]

    def test_a_cluster_needs_another_broker(self) -> None:
        with pytest.raises(ValidationError, match="HUB_BROKER_URL is needed with a Redis Cluster"):
            Settings(redis_url="redis+cluster://h1,h2")
        with pytest.raises(ValidationError, match="cannot use a Redis Cluster"):
            Settings(redis_url="redis+cluster://h1", broker_url="redis+cluster://h1")
        assert Settings(redis_url="redis+cluster://h1", broker_url="amqp://mq").broker == "amqp://mq"
