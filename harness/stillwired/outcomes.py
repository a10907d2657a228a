from stillwired.judge.outcomes import Arm, Outcome  # noqa
