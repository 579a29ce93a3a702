"""Treatments: who acts for a user. Everybody has one, or each arm of an experiment its own: a policy with its tables, sources, a ranker.

What a policy learned is known by a key of `model-updates`: ``policy:NAME``, and ``policy:NAME@SALT.ARM`` for an arm. BANDIT holds one
learner for each. That of the configured policy is there from the start; another begins with a definition that the recommender sends
before the first step (`models.policies.learner`). A slate says its arm and policy: the step goes to the one that made it, whatever arm
the user is in by then.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from models.config import Configuration, Experiment, Sources, Strategy
from models.config import Policy as Settings
from models.controls import PolicyRule
from models.experiments import InvalidArm, Split, TreatmentSettings
from models.identity import hash64
from models.policies import make_policy
from models.policies.learner import PolicyDefinition, action_key, encode_definition, policy_key
from models.policies.slots import slot_epsilon
from models.policies.state import Context
from models.rankers import Ranker, Rankers
from models.topics import DEFAULT_ARM
from models.validation import arm_settings
from models.versions import Version, decode_tables, decode_version

_MOST_MAKERS = 256


class Treatment:
    """What the users of one arm are given.

    Attributes
    ----------
    arm : its name
    share : of the users who should be in it, 1 where no experiment runs
    settings : section policy as it is for them
    sources : weights of the candidate sources, None: as for everybody
    ranker : scores the candidates
    policy : chooses among the strategies
    key : of its tables in `model-updates`
    definition : what its learner must be told first, None for that of the configured policy
    version : of the tables, None before the first
    """

    def __init__(
        self, arm: str, share: float, settings: Settings, sources: Sources | None, ranker: Ranker, *, key: str, configured: bool
    ) -> None:
        self.arm, self.share, self.settings, self.sources, self.ranker, self.key = arm, share, settings, sources, ranker, key
        self.policy = make_policy(settings)
        self.version: Version | None = None
        self.definition = None if configured else encode_definition(PolicyDefinition(key=key, settings=settings))
        self._forced: int | None = None
        self._versions: dict[str, str] = {}
        self._versions_of: tuple[Version | None, Version | None] = (None, None)

    def force(self, strategy: str | None) -> None:
        """Let one strategy make every slate, if it is one of this policy's."""
        self._forced = self.policy.actions.index(strategy) if strategy in self.policy.actions else None

    def choose(self, context: Context, key: int) -> tuple[str, float]:
        """Draw the strategy of a slate.

        Parameters
        ----------
        key : what the draw belongs to (the slate's id)

        Returns
        -------
        its name, and the probability that it had
        """
        action, probability = (self._forced, 1.0) if self._forced is not None else self.policy.choose(context, key)
        return self.policy.actions[action], probability

    def best(self, context: Context) -> tuple[str, float]:
        """The strategy of a slate of who does not explore: the likeliest, for certain."""
        action = int(self.policy.probabilities(context).argmax()) if self._forced is None else self._forced
        return self.policy.actions[action], 1.0

    def action_key(self, action: str) -> int:
        """By which number this policy's learner knows an action."""
        return action_key(action, None if self.definition is None else self.key)

    def load(self, record: bytes) -> str | None:
        """Choose by published tables, unless they are older than those that are held.

        Returns
        -------
        Why they were passed over, where they are of another shape: they were learned with other settings than those that hold now,
        and the learner of these makes and publishes others. None otherwise.

        Raises
        ------
        ValueError
            When they are damaged, or of a layout that this release cannot read.
        """
        version, tables = decode_version(record)
        if self.version is not None and version <= self.version:
            return None
        read = decode_tables(tables)
        try:
            self.policy.load(read)
        except ValueError as error:
            return str(error)
        self.version = version
        return None

    @property
    def versions(self) -> dict[str, str]:
        """Version of each model part that answers with it: of the ranker and of the policy's tables, where there is one."""
        now = (self.ranker.version, self.version)
        if now != self._versions_of:
            parts = zip(("ranker", "policy"), now, strict=True)
            self._versions = {part: str(version) for part, version in parts if version is not None}
            self._versions_of = now
        return self._versions


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is in force from some moment on."""

    everybody: Treatment
    split: Split | None
    arms: dict[str, Treatment]


class Treatments:
    """The treatments in force.

    Parameters
    ----------
    configuration : the whole configuration
    rankers : the networks

    Attributes
    ----------
    choosing : whether some policy has, or had, more than one strategy to choose among
    """

    def __init__(self, configuration: Configuration, rankers: Rankers) -> None:
        self._config, self._rankers = configuration, rankers
        self._records: dict[str, bytes] = {}
        self._epsilon: float | None = None
        self._makers: dict[tuple[str, str], Treatment] = {}
        self.choosing = False
        self.install()

    def install(
        self,
        *,
        policy: PolicyRule | None = None,
        experiment: Experiment | None = None,
        epsilon: float | None = None,
        policy_is_new: bool = True,
    ) -> None:
        """Let these rules be in force instead of those before; nothing is changed where one is refused.

        Parameters
        ----------
        policy, experiment, epsilon : values of the controls, None: as configured
        policy_is_new : of these rules that of the policy is the new one; then somebody has to have the strategy that it forces. When the
            arm that had it ends it forces nothing

        Raises
        ------
        ValueError
            When what is asked for does not fit the configuration.
        """
        self._plan = self._planned(policy or PolicyRule(), experiment or self._config.experiment, policy_is_new=policy_is_new)
        self._epsilon = epsilon
        treatments = (self._plan.everybody, *self._plan.arms.values())
        self._rankers.put_in_force(treatment.ranker for treatment in treatments)
        self.choosing = self.choosing or any(len(treatment.policy.actions) > 1 for treatment in treatments)
        makers = {(treatment.arm, treatment.policy.name): treatment for treatment in treatments}
        # slates that were made before are closed after: those who made them are still known
        self._makers = makers if len(self._makers) > _MOST_MAKERS else self._makers | makers

    def _planned(self, rule: PolicyRule, experiment: Experiment, *, policy_is_new: bool) -> _Plan:
        config = self._config
        changes = {name: value for name, value in msgspec.structs.asdict(rule).items() if value is not None}
        forced = changes.pop("strategy", None)
        base = msgspec.structs.replace(config.policy, **changes)
        try:
            settings = arm_settings(config, base, experiment)
        except InvalidArm as error:
            raise ValueError(str(error)) from None
        everybody = Treatment(
            DEFAULT_ARM,
            1.0,
            base,
            None,
            self._rankers.everybody,
            key=policy_key(base.name),
            configured=base.name == config.policy.name,
        )
        split = Split(experiment.salt, {name: arm.weight for name, arm in experiment.arms.items()}) if settings else None
        shares = {} if split is None else split.shares
        arms = {name: self._arm(name, shares[name], own, experiment.salt) for name, own in settings.items()}
        everyone = (everybody, *arms.values())
        if forced is not None and policy_is_new and not any(forced in treatment.policy.actions for treatment in everyone):
            known = sorted({name for treatment in everyone for name in treatment.policy.actions})
            raise ValueError(f"strategy: expected one of {', '.join(known)}, got {forced!r}")
        for treatment in everyone:
            treatment.force(forced)
            self._restore(treatment)
        return _Plan(everybody, split, arms)

    def _arm(self, name: str, share: float, own: TreatmentSettings, salt: str) -> Treatment:
        key = policy_key(own.policy.name, arm=f"{salt}.{name}")
        ranker = self._rankers.everybody if own.scorer is None else self._rankers.of_arm(f"{salt}.{name}", own.scorer)
        return Treatment(name, share, own.policy, own.sources, ranker, key=key, configured=False)

    def _restore(self, treatment: Treatment) -> str | None:
        """Give a treatment what its learner published last, also when it was published while nobody asked for it.

        Returns
        -------
        Why that was passed over (`Treatment.load`), or None.
        """
        record = self._records.get(treatment.key)
        return None if record is None or len(treatment.policy.actions) == 1 else treatment.load(record)

    def apply_tables(self, key: str, record: bytes) -> str | None:
        """Apply a record of `model-updates` whose key is that of a policy.

        Returns
        -------
        Why its tables were passed over (`Treatment.load`), or None.

        Raises
        ------
        ValueError
            When the record is damaged, or of a layout that this release cannot read.
        """
        before = self._records.get(key)
        if before is None or decode_version(record)[0] > decode_version(before)[0]:
            self._records[key] = record
        passed_over = None
        for treatment in (self._plan.everybody, *self._plan.arms.values()):
            if treatment.key == key:
                passed_over = self._restore(treatment) or passed_over
        return passed_over

    @property
    def everybody(self) -> Treatment:
        """The treatment of those who are in no experiment."""
        return self._plan.everybody

    def of(self, user_id: str) -> Treatment:
        """The treatment of a user."""
        plan = self._plan
        return plan.everybody if plan.split is None else plan.arms[plan.split.arm_of(hash64(user_id))]

    @property
    def arms(self) -> int:
        """How many arms users can be in, 0 where no experiment runs."""
        return 0 if self._plan.split is None else sum(share > 0 for share in self._plan.split.shares.values())

    def who_made(self, arm: str, policy: str) -> Treatment | None:
        """The treatment that made a slate, by what the slate says; None when nobody remembers."""
        return self._makers.get((arm, policy))

    def epsilon(self, treatment: Treatment, strategy: Strategy, *, slates: int) -> float:
        """Exploration probability of a slot for a user who has had `slates` slates."""
        if self._epsilon is not None:
            return self._epsilon
        return slot_epsilon(treatment.settings, strategy, slates=slates)
