from pathlib import Path

import pytest

from idds.bus.mqtt import MqttBus, MqttOptions
from idds.domain.errors import InvalidInput, Unavailable

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        (MqttOptions(url="http://broker"), "/url"),
        (MqttOptions(url="mqtt://"), "/url"),
        (MqttOptions(url="mqtt://broker:no"), "/url"),
        (MqttOptions(url="mqtt://broker/path"), "/url"),
        (MqttOptions(url=f"mqtt://idds:{SECRET}@broker"), "/url"),
        (MqttOptions(url=f"mqtt://idds:{SECRET}@broker:no"), "/url"),
        (MqttOptions(client_id=""), "/client_id"),
        (MqttOptions(password_file="a", password_env="B"), "/password_env"),
        (MqttOptions(key_file="key.pem"), "/cert_file"),
    ],
)
def test_what_cannot_be_is_named(options: MqttOptions, pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        MqttBus(options)
    assert [problem.pointer for problem in refused.value.problems] == [pointer]
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        (MqttOptions(password_file="missing"), "/password_file"),
        (MqttOptions(password_env="IDDS_TEST_NOT_SET"), "/password_env"),
        (MqttOptions(url="mqtts://broker", ca_file="missing"), "/ca_file"),
        (MqttOptions(url="mqtts://broker", cert_file="missing"), "/cert_file"),
    ],
)
async def test_what_cannot_be_read_is_told_at_the_start(options: MqttOptions, pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await MqttBus(options).start()
    assert [problem.pointer for problem in refused.value.problems] == [pointer]


async def test_a_password_that_went_away_later_is_unavailable(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(SECRET)
    bus = MqttBus(MqttOptions(password_file=str(password)))
    await bus.start()
    password.unlink()
    with pytest.raises(Unavailable):
        await bus.publish([("idds", b"")])
