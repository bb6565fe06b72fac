from pathlib import Path

import pytest

from runtime.network.cni import Plugins, Verb
from runtime.network.cni.programs import Programs
from store.errors import Error
from tests.cni import ENVIRONMENT, ONWARD, script
from tests.contracts.plugins import PluginsContract, Workshop
from tests.fakes.cni import MemoryPlugins


class Scripts:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def passing(self, name: str) -> None:
        script(self._directory, name, ONWARD)

    def failing(self, name: str, verb: Verb, text: str) -> None:
        refusal = f"""echo '{{"code": 7, "msg": "{text}"}}'; exit 1"""
        script(self._directory, name, f'[ "$CNI_COMMAND" != {verb} ] || {{ {refusal}; }}\n{ONWARD}')

    def plugins(self) -> Plugins:
        return Programs((self._directory,), ENVIRONMENT)


class Memory:
    def __init__(self) -> None:
        self._plugins = MemoryPlugins()

    def passing(self, name: str) -> None:
        self._plugins.types.add(name)

    def failing(self, name: str, verb: Verb, text: str) -> None:
        self._plugins.types.add(name)
        self._plugins.failures[name, verb] = Error(text)

    def plugins(self) -> Plugins:
        return self._plugins


class TestPrograms(PluginsContract):
    @pytest.fixture
    def workshop(self, tmp_path: Path) -> Workshop:
        return Scripts(tmp_path)


class TestMemoryPlugins(PluginsContract):
    @pytest.fixture
    async def workshop(self) -> Workshop:
        return Memory()
