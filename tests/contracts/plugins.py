"""What CNI plugins must do, however they are run; a subclass gives the fixture.

`workshop` makes plugins that behave as they are told.
"""

import json
from pathlib import Path
from typing import Protocol

import pytest

from runtime.network.cni import Call, Plugins, Target, Verb
from store.errors import Error, FailedPreconditionError


class Workshop(Protocol):
    """Where plugins are made."""

    def passing(self, name: str) -> None:
        """Make a plugin that answers ADD with the previous result."""
        ...

    def failing(self, name: str, verb: Verb, text: str) -> None:
        """Make a plugin that passes, but refuses one verb with a text."""
        ...

    def plugins(self) -> Plugins:
        """Return what runs them."""
        ...


def call(plugin: str, verb: Verb, document: str = "{}") -> Call:
    target = Target(container_id="a", netns=str(Path("/nowhere")), arguments="")
    return Call(
        plugin=plugin, verb=verb, document=document, purpose="connect sandbox a", target=target
    )


class PluginsContract:
    """The fixture `workshop` is where the implementation under test lives."""

    def test_those_that_are_missing_are_named(self, workshop: Workshop) -> None:
        workshop.passing("one")
        plugins = workshop.plugins()
        assert plugins.missing(("one",)) == ""
        missing = plugins.missing(("two", "one", "three"))
        assert missing.startswith("two, three not found in ")

    async def test_an_answer_is_what_it_printed(self, workshop: Workshop) -> None:
        workshop.passing("one")
        output = await workshop.plugins().call(
            call("one", Verb.ADD, '{"type": "one", "prevResult": {"ips": []}}')
        )
        assert json.loads(output) == {"ips": []}

    async def test_a_refusal_names_plugin_and_verb(self, workshop: Workshop) -> None:
        workshop.failing("one", Verb.DEL, "no such thing")
        plugins = workshop.plugins()
        with pytest.raises(
            Error, match=r"^cannot connect sandbox a: plugin one DEL: no such thing"
        ):
            await plugins.call(call("one", Verb.DEL))
        await plugins.call(call("one", Verb.ADD, '{"type": "one", "prevResult": {}}'))

    async def test_one_that_is_missing_can_not_be_called(self, workshop: Workshop) -> None:
        workshop.passing("one")
        with pytest.raises(
            FailedPreconditionError,
            match=r"^cannot connect sandbox a: plugin two ADD: not found in",
        ):
            await workshop.plugins().call(call("two", Verb.ADD))

    def test_ending_what_does_not_run_is_no_error(self, workshop: Workshop) -> None:
        workshop.plugins().end({"never seen"})
        workshop.plugins().end(())
