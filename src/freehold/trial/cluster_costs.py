"""What a trial took on a cluster: machine time, energy and money, summed over its machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from freehold.core import atomic_files
from freehold.costs.money import HOURS_PER_YEAR, CostOptions
from freehold.trial import json_form
from freehold.trial.report_record import ClusterNode, ClusterSection

#: File in a step's folder that says which node did it.
RECORD = "node.json"


@dataclass(frozen=True)
class NodeRecord:
    """Which node did a step."""

    #: name of the node
    node: str
    #: address of the cluster
    cluster: str
    #: the facts that measurements depend on
    machine: dict[str, object]
    #: nodes that died while they did it
    lost: tuple[str, ...] = ()

    def keep(self, place: Path) -> None:
        """Write it into the step's folder."""
        atomic_files.write_atomically(place / RECORD, json.dumps(asdict(self), indent=1))


@dataclass(frozen=True)
class _Done:
    """A finished step: who did it, and what it took."""

    record: NodeRecord
    seconds: float
    kwh: float
    kg_co2e: float


def cluster_section(steps: Path, options: CostOptions) -> ClusterSection | None:
    """The report's ``cluster``; None where no step was done on one. ``steps``: the folder of the steps."""
    done = [_read(file) for file in sorted(steps.glob(f"*/{RECORD}"))]
    if not done:
        return None
    names = sorted({step.record.node for step in done})
    nodes = tuple(_node(name, [step for step in done if step.record.node == name]) for name in names)
    seconds, kwh = sum(node.seconds for node in nodes), sum(node.kwh for node in nodes)
    return ClusterSection(
        address=done[-1].record.cluster,
        nodes=nodes,
        lost=tuple(sorted({name for step in done for name in step.record.lost})),
        seconds=seconds,
        kwh=kwh,
        kg_co2e=sum(node.kg_co2e for node in nodes),
        dollars=dollars(options, seconds, kwh),
    )


def _read(file: Path) -> _Done:
    record = json_form.read(NodeRecord, json.loads(file.read_text()), str(file))
    result_file = file.with_name("result.json")
    result = json.loads(result_file.read_text()) if result_file.exists() else {}
    energy = result.get("energy") or {}
    return _Done(
        record,
        float(result.get("seconds", 0.0)),
        float(energy.get("kwh", 0.0)),
        float(energy.get("kg_co2e", 0.0)),
    )


def _node(name: str, done: Sequence[_Done]) -> ClusterNode:
    return ClusterNode(
        name,
        done[-1].record.machine,
        len(done),
        sum(step.seconds for step in done),
        sum(step.kwh for step in done),
        sum(step.kg_co2e for step in done),
    )


def dollars(options: CostOptions, seconds: float, kwh: float) -> tuple[float, float, float]:
    """(lowest, likely, highest) dollars of so much machine time and metered energy.

    By ``--hardware-per-hour``, which includes electricity; else by the price of a machine spread over its
    years, and the price of electricity.
    """
    hours = seconds / 3600
    hourly = options.hardware_per_hour
    if hourly is not None:
        return hours * hourly.low, hours * hourly.central, hours * hourly.high
    price, years, electricity = options.hardware_price, options.hardware_years, options.kwh_price
    return (
        hours * price.low / (years.high * HOURS_PER_YEAR) + kwh * electricity.low,
        hours * price.central / (years.central * HOURS_PER_YEAR) + kwh * electricity.central,
        hours * price.high / (years.low * HOURS_PER_YEAR) + kwh * electricity.high,
    )
