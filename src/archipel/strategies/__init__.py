"""Who chooses the next architecture: ask / tell. One strategy a file; `STRATEGIES` lists them by name."""

from archipel.strategies.acquisition import ACQUISITIONS, acquisition
from archipel.strategies.bayesian import bananas, bayesian, predictor_guided
from archipel.strategies.local_search import LocalSearch
from archipel.strategies.named import STRATEGIES, strategy
from archipel.strategies.nao import NAO
from archipel.strategies.npenas import npenas
from archipel.strategies.nsga2 import NSGA2
from archipel.strategies.optuna_sampler import OptunaSampler, samplers
from archipel.strategies.predictor_guided import PredictorGuided
from archipel.strategies.progressive import Progressive, pnas
from archipel.strategies.random_search import RandomSearch
from archipel.strategies.regularised_evolution import RegularisedEvolution
from archipel.strategies.reinforce import Reinforce, nas_rl, ppo, reinforce
from archipel.strategies.strategy import Scores, Strategy
from archipel.strategies.tournament import TournamentEvolution

__all__ = [
    "ACQUISITIONS",
    "NAO",
    "NSGA2",
    "STRATEGIES",
    "LocalSearch",
    "OptunaSampler",
    "PredictorGuided",
    "Progressive",
    "RandomSearch",
    "RegularisedEvolution",
    "Reinforce",
    "Scores",
    "Strategy",
    "TournamentEvolution",
    "acquisition",
    "bananas",
    "bayesian",
    "nas_rl",
    "npenas",
    "pnas",
    "ppo",
    "predictor_guided",
    "reinforce",
    "samplers",
    "strategy",
]
