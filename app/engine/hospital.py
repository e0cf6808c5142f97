"""A hospital compiled for judging: catalog, technologies and policy, built once per version."""

from __future__ import annotations

from app.engine.catalog import Catalog
from app.engine.model import ByCheckpoint, Checkpoint, Disposition, Hospital, Urgency
from app.engine.reasons import REASONS, default_disposition, stricter
from app.engine.technologies import Technologies, looked_for


class CompiledHospital:
    """What an order is judged by, but for the people and the case."""

    __slots__ = ("catalog", "code", "office_hours", "paediatric", "policy", "source", "technologies", "time_zone")

    def __init__(self, hospital: Hospital) -> None:
        self.source = hospital
        self.code = hospital.code
        self.time_zone = hospital.time_zone
        self.policy = hospital.policy
        self.paediatric = hospital.paediatric
        self.office_hours = hospital.office_hours
        self.catalog = Catalog(hospital, looked_for(hospital.technologies))
        self.technologies = Technologies(hospital.technologies, self.catalog)

    def disposition(self, code: str, checkpoint: Checkpoint, urgency: Urgency, default: Disposition | None = None) -> Disposition:
        """What a finding does: the policy's word within what may be loosened, otherwise `default` of this finding or of its rule."""
        reason = REASONS[code]
        ruled = self.policy.dispositions.get(code)
        if isinstance(ruled, ByCheckpoint):
            ruled = _at(ruled, checkpoint, urgency)
        if ruled is None:
            return default or default_disposition(reason, checkpoint, urgency)
        return stricter(ruled, reason.floor)


def _at(ruled: ByCheckpoint, checkpoint: Checkpoint, urgency: Urgency) -> Disposition | None:
    """The policy's word for a checkpoint. In an emergency only the key `emergency` speaks; the checkpoints' keys are for the others."""
    if urgency is Urgency.EMERGENCY:
        return ruled.emergency
    by_checkpoint = {
        Checkpoint.ORDER: ruled.order,
        Checkpoint.NOTICE: ruled.notice,
        Checkpoint.ANESTHESIA: ruled.anesthesia,
        Checkpoint.INTRAOP: ruled.intraop,
    }
    return by_checkpoint[checkpoint]
