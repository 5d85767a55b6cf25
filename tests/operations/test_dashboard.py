"""The dashboard cannot drift: it is what the code says, and the code names only figures that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from collabd.cli import cli
from collabd.dashboard import PANELS, dashboard, dashboard_json, figure
from collabd.figures import BY_NAME

FILE = Path(__file__).parents[2] / "packaging" / "grafana-websocket-dashboard.json"
EXPRESSIONS = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def test_the_file_is_what_the_code_makes() -> None:
    """`python -m collabd.dashboard > packaging/grafana-websocket-dashboard.json`."""
    assert FILE.read_text() == dashboard_json()


def test_the_command_prints_it() -> None:
    """An installed collabd carries it along."""
    assert CliRunner().invoke(cli, ["dashboard"]).output == dashboard_json()


def test_expressions_name_only_figures_that_exist() -> None:
    """A name that nobody exposes cannot even be written."""
    for expression in EXPRESSIONS:
        for name in re.findall(r"\b(?:orchestrator|process)_\w+", expression):
            assert figure(name)
    with pytest.raises(KeyError):
        figure("orchestrator_websocket_nothing_total")


def test_every_figure_of_the_server_is_shown() -> None:
    """What is worth counting is worth a look."""
    shown = " ".join(EXPRESSIONS)
    hidden = {name for name in BY_NAME if name not in shown}
    assert hidden == {"process_virtual_memory_bytes", "process_start_time_seconds"}


def test_the_datasource_is_a_variable_and_every_panel_uses_it() -> None:
    """An import asks which Prometheus, and no id of somebody's own stands in it."""
    made = dashboard()
    (variable,) = made["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    for panel in made["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_every_panel_has_a_unit_and_says_what_it_shows(panel: object) -> None:
    """A number without a unit is a guess."""
    (made,) = [made for made in dashboard()["panels"] if made["title"] == getattr(panel, "title", None)]
    assert made["fieldConfig"]["defaults"]["unit"]
    assert made["description"].endswith(".")


def test_panels_do_not_overlap_and_ids_are_unique() -> None:
    """Grafana would move them about."""
    panels = dashboard()["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize(
    "words",
    [
        "Active connections", "Connections and disconnections", "Throughput", "Latency", "Reconnections",
        "Fallback rate", "Failure rate", "Connection quality", "Health", "Commit latency",
    ],
)  # fmt: skip
def test_the_dashboard_shows_what_operators_ask_for(words: str) -> None:
    """A panel each."""
    assert words in [panel.title for panel in PANELS]


def test_latency_is_shown_by_four_percentiles() -> None:
    """The median says how it feels, the rest how bad it gets."""
    (latency,) = [panel for panel in PANELS if panel.title == "Latency"]
    assert [query.legend for query in latency.queries] == ["p50", "p90", "p95", "p99"]


def test_the_file_is_json_that_grafana_can_import() -> None:
    """With a uid, so that a new version replaces the old one."""
    made = json.loads(FILE.read_text())
    assert made["uid"]
    assert made["schemaVersion"] >= 36
