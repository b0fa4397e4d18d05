"""Trials: a strategy, an evaluator and a ledger in one loop."""

from archipel.trials.ledger import Ledger, MemoryLedger, Trial
from archipel.trials.search import Budget, Search, Step, search
from archipel.trials.study import StudyLedger

__all__ = ["Budget", "Ledger", "MemoryLedger", "Search", "Step", "StudyLedger", "Trial", "search"]
