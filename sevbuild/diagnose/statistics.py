"""What a search tried, as plain values: stage by stage, what was completed and what was left."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["SearchStatistics", "StageStatistics", "statistics_document"]


class StageStatistics(NamedTuple):
    """One stage of a search.

    `changes` is how many settings are another in it, the number of vCPUs not counted, and `vcpus` the most
    vCPUs that were tried. `every` tells that all changes were combined, not only those known of launches.
    `left` says what of it was not tried, empty where it was completed. `matches` is how many launches with
    the digest were met in it for the first time.
    """

    name: str
    changes: int
    vcpus: int
    every: bool
    launches: int
    seconds: float
    processes: int
    left: str = ""
    matches: int = 0

    @property
    def completed(self) -> bool:
        """Tell whether every launch of the stage was tried."""
        return not self.left


class SearchStatistics(NamedTuple):
    """What a search tried in all.

    `starts` is how many launches it started from, `alike` how many of these were another by the number of
    vCPUs alone, and so searched with one of them. `changes` is how many single changes of the starts there
    were, `without_effect` and `refused` how many more that changed nothing or cannot be made. `unconfirmed`
    are matches that the model of the secure processor did not confirm.
    """

    starts: int
    alike: int
    changes: int
    without_effect: int
    refused: int
    stages: tuple[StageStatistics, ...]
    seconds: float
    unconfirmed: int = 0

    @property
    def launches(self) -> int:
        """Return how many launches were tried."""
        return sum(stage.launches for stage in self.stages)

    @property
    def completed(self) -> tuple[StageStatistics, ...]:
        """Return the stages that were completed."""
        return tuple(stage for stage in self.stages if stage.completed)


def statistics_document(statistics: SearchStatistics) -> dict[str, Any]:
    """Return the statistics as a JSON-able document."""
    return {
        "launches": statistics.launches,
        "starts": statistics.starts,
        "alike": statistics.alike,
        "changes": statistics.changes,
        "without_effect": statistics.without_effect,
        "refused": statistics.refused,
        "unconfirmed": statistics.unconfirmed,
        "seconds": round(statistics.seconds, 3),
        "stages": [
            {
                "name": stage.name,
                "completed": stage.completed,
                "left": stage.left,
                "matches": stage.matches,
                "launches": stage.launches,
                "seconds": round(stage.seconds, 3),
                "processes": stage.processes,
            }
            for stage in statistics.stages
        ],
    }
