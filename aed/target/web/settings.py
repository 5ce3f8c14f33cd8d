"""Settings of the page."""

from dataclasses import dataclass

from aed.target.codegen.settings import PlanKind, PlanSettings


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """The page.

    Args:
        plan: How the C runs the net, as ``c.plan``.
        hop: Columns between two decisions of a stream, as ``c.hop``.
        learn: Sounds that the page can learn from examples; null: 4 if the model has the means of its classes
            (``decision.means``), else none.
    """

    plan: PlanKind = "auto"
    hop: int | None = None
    learn: int | None = None

    @property
    def planning(self) -> PlanSettings:
        """Those of how the net is run."""
        return PlanSettings(plan=self.plan, hop=self.hop)
