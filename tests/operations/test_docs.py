"""docs/operations.md says what a server exposes, and answers every finding and alert."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from collabd import figures
from collabd.figures import FIGURES
from collabd.hub import diagnosis
from collabd.hub.timeline import KINDS, MAX_ENTRIES
from collabd.metrics import GROUP_SIZE_BOUNDS, LATENCY_BOUNDS_S
from collabd.operating.doctor import EXIT_STATUS
from tests.operations.asking import operated_hub

DOCS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
SOURCE = Path(diagnosis.__file__).read_text()


def rows(head: str) -> list[list[str]]:
    """The cells of the table whose head begins so."""
    lines = DOCS.split(f"\n| {head}", 1)[1].splitlines()[2:]
    table = lines[: next(index for index, line in enumerate([*lines, ""]) if not line.startswith("|"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_table_of_metrics_is_the_one_of_the_code() -> None:
    """`python -m collabd.figures` prints what belongs there."""
    assert f"\n{figures.markdown()}\n" in DOCS


async def test_the_docs_name_exactly_what_a_scrape_has(autojump_clock: trio.abc.Clock) -> None:
    """Names, kinds and labels, compared with a real exposition."""
    async with operated_hub() as operator:
        _, body, _ = await operator.ask("/actuator/prometheus")
    scraped = {}
    for family in text_string_to_metric_families(body.decode()):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        scraped[family.name + ("_total" if family.type == "counter" else "")] = (family.type, labels)
    documented = {
        name.strip("`"): (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _, _ in rows("metric |")
    }
    assert documented == scraped


def test_every_metric_has_a_unit_and_a_meaning() -> None:
    """Kept in step with the help text that a scrape shows."""
    assert all(figure.unit and figure.meaning.endswith(".") for figure in FIGURES)


def test_the_timeline_table_is_the_one_of_the_code() -> None:
    """Every kind of entry with its values."""
    documented = {
        event.strip("`"): (tuple(re.findall(r"`(\w+)`", values)), text) for event, values, text in rows("event |")
    }
    assert documented == {name: (kind.fields, kind.words) for name, kind in KINDS.items()}
    assert f"the newest {MAX_ENTRIES} entries" in DOCS


@pytest.mark.parametrize("topic", sorted(set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', SOURCE))))
def test_every_finding_of_the_doctor_has_its_section(topic: str) -> None:
    """`more docs/operations.md#…` leads somewhere."""
    assert f"\n### {topic}\n" in DOCS


def test_exit_statuses_are_those_of_the_doctor() -> None:
    """Scripts rely on them."""
    documented = {int(status): meaning for status, meaning in rows("status | meaning")}
    for name, status in EXIT_STATUS.items():
        assert documented[status].startswith(name.lower())
    assert set(documented) == {0, 1, 2, 3, 4}


def test_buckets_are_those_of_the_code() -> None:
    """In words, since nobody reads a list of le labels."""
    sentence = " ".join(DOCS.split("Buckets of the latencies", 1)[1].split("Latency is measured", 1)[0].split())
    milliseconds = [f"{bound * 1000:g}" for bound in LATENCY_BOUNDS_S if bound < 1]
    assert f"end at {', '.join(milliseconds)} ms, 1, 2.5, 5 and 10 s" in sentence
    sizes = [str(bound) for bound in GROUP_SIZE_BOUNDS]
    assert f"at {', '.join(sizes[:-1])} and {sizes[-1]} events" in sentence


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(#([\w-]+)\)", DOCS))))
def test_links_within_the_page_lead_somewhere(link: str) -> None:
    """A heading each."""
    headings = re.findall(r"^#+ (.+)$", DOCS, re.MULTILINE)
    assert link in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
