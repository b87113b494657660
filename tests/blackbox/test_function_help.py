"""`rondel functions` and `call --help` show what the source of a module declares. No image is present, and the network is off."""

import pytest

from kit import Rondel, short_folder, write_go_module, write_module
from kit.module_commands import write_keys

pytestmark = pytest.mark.once

GO = """// Paints walls.
package main

// Color is a color.
type Color string

const (
	// Red is warm.
	Red Color = "RED"
	// Deep blue.
	Blue Color = "BLUE"
)

type Probe struct {
	// The name of the painter
	Name string
}

func New(
	// Who paints
	// +default="Ada"
	name string,
) *Probe {
	return &Probe{Name: name}
}

// Paint paints a wall.
//
// It takes a while.
func (m *Probe) Paint(
	// The color of the wall
	// +default="RED"
	color Color,
	// How often
	// +default=2
	times int,
	// What is left out
	// +optional
	skip []Color,
	// The wall
	wall string,
) string {
	return ""
}

func (m *Probe) Plain() string { return "" }
"""

PYTHON = '''"""Paints walls."""
import enum
from typing import Annotated

import dagger
from dagger import Doc, function, object_type


@dagger.enum_type
class Color(enum.Enum):
    """A color."""

    RED = "RED"
    """Red is warm."""

    BLUE = "BLUE"
    """Deep blue."""


@object_type
class Probe:
    name: Annotated[str, Doc("Who paints")] = "Ada"

    @function
    def paint(
        self,
        wall: Annotated[str, Doc("The wall")],
        color: Annotated[Color, Doc("The color of the wall")] = Color.RED,
        times: Annotated[int, Doc("How often")] = 2,
        skip: Annotated[list[Color] | None, Doc("What is left out")] = None,
    ) -> str:
        """Paint paints a wall.

        It takes a while.
        """
        return ""

    @function
    def plain(self) -> str:
        return ""
'''


@pytest.fixture(scope="module")
def offline(place):
    """An engine without an image and without a network."""
    rondel = Rondel(short_folder(), "offline = true\n")
    yield rondel
    assert rondel.execs() == 0
    rondel.remove()


@pytest.fixture(scope="module", params=["go", "python"])
def painter(request, place):
    folder = place / request.param
    (folder / ".git").mkdir(parents=True)
    return write_go_module(folder, {"main.go": GO}) if request.param == "go" else write_module(folder, PYTHON)


def help_of(engine, module, *words) -> str:
    return " ".join(engine.call(module, *words, "--help").ok().out.split())


def test_functions_shows_the_first_line_of_each_description(offline, painter):
    rows = dict(line.split(maxsplit=1) for line in offline.run("functions", "-m", painter).ok().out.splitlines())
    assert {name: rows[name] for name in ("paint", "plain")} == {"paint": "Paint paints a wall.", "plain": "-"}


def test_functions_as_json_shows_descriptions_types_and_defaults(offline, painter):
    found = {function["name"]: function for function in offline.run("functions", "-m", painter, "--json").json()}
    paint = found["paint"]
    assert paint["description"] == "Paint paints a wall.\n\nIt takes a while."
    args = {arg["name"]: arg for arg in paint["arguments"]}
    assert {name: arg["description"] for name, arg in args.items()} == {"color": "The color of the wall", "times": "How often", "skip": "What is left out", "wall": "The wall"}
    assert (args["color"]["type"], args["color"]["default"], args["times"]["default"]) == ("ProbeColor!", "RED", "2")
    assert (args["wall"]["required"], args["color"]["required"], args["skip"]["required"]) == (True, False, False)


def test_help_of_call_shows_the_module_its_functions_and_the_constructor(offline, painter):
    said = help_of(offline, painter)
    assert "Paints walls." in said and "paint Paint paints a wall." in said
    assert '--name <STRING> Who paints (default "Ada")' in said


def test_help_of_a_function_shows_its_description_and_its_arguments(offline, painter):
    said = help_of(offline, painter, "paint")
    assert "Paint paints a wall. It takes a while." in said
    assert "--wall <STRING> The wall" in said and "--times <INT> How often (default 2)" in said


def test_help_of_a_function_shows_the_members_of_enums(offline, painter):
    said = help_of(offline, painter, "paint")
    members = "[possible values: BLUE, RED]" if "BLUE, RED" in said else "[possible values: RED, BLUE]"
    assert f"--color <PROBE-COLOR> The color of the wall (default RED) {members}" in said
    assert f"--skip <PROBE-COLOR> What is left out {members}" in said


def test_a_value_that_is_no_member_is_named_with_the_members(offline, painter):
    offline.call(painter, "paint", "--wall", "w", "--color", "GREEN").failed("GREEN", "RED", "BLUE", code=2)
    offline.call(painter, "paint", "--wall", "w", "--skip", "RED,GREEN").failed("GREEN", "RED", "BLUE", code=2)


def test_functions_lists_those_of_a_module_with_a_dependency_that_is_missing(offline, place):
    module = write_module(place / "missing", PYTHON)
    write_keys(module, name="probe", engineVersion="v0.21.8", sdk="python", dependencies=[{"name": "dep", "source": "./gone"}])
    done = offline.run("functions", "-m", module).ok()
    assert "paint" in done.out and "dep" in done.err
