"""Predictors of any space by name, each with the encoding that the space has.

A space of cells (`archipel.evaluators.predictors.cells`) is read cell by cell; of any other the child networks are
traced, so that graph predictors work where nobody defined a cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archipel.errors import OptionError, SpaceError, did_you_mean
from archipel.evaluators.predictors import trace
from archipel.evaluators.predictors.cells import CellGraphs, CellView, EdgeCells, cells_of
from archipel.evaluators.predictors.classical import Forest, GaussianProcess, boosted_trees, ridge, support_vectors
from archipel.evaluators.predictors.ensemble import Ensemble
from archipel.evaluators.predictors.features import Features, Joined, OneHot, Remembered
from archipel.evaluators.predictors.gates import GatesOnEdge, GatesOnNode
from archipel.evaluators.predictors.graph_features import Ways
from archipel.evaluators.predictors.graph_networks import GCN, GIN
from archipel.evaluators.predictors.nao import EncoderPredictorDecoder
from archipel.evaluators.predictors.neural import Encoder, Encoding, Fitting, NeuralPredictor, Perceptron
from archipel.evaluators.predictors.predictor import Factory, Predictor
from archipel.evaluators.predictors.sequences import LSTM, Decisions
from archipel.space import Space

__all__ = ["PREDICTORS", "gates", "gates_on_node", "gcn", "gin", "lstm", "perceptron", "predictor", "ways"]

Shape = tuple[int, ...]
IMAGE: Shape = (3, 32, 32)
"""Of one input, where networks are traced and nothing else is said."""


def perceptron(space: Space, *, fitting: Fitting | None = None, seed: int = 0) -> NeuralPredictor:
    """Four wide layers over the one-hot code."""
    features = OneHot(space)
    return NeuralPredictor(
        lambda architectures: (features(architectures),),
        lambda: Perceptron(space.width, (512, 512, 512, 512)),
        fitting or Fitting(hidden=()),
        seed=seed,
    )


def lstm(space: Space, *, fitting: Fitting | None = None, seed: int = 0) -> NeuralPredictor:
    """An LSTM over the decisions (PNAS)."""
    return NeuralPredictor(Decisions(space), lambda: LSTM(space.width), fitting or Fitting(hidden=(200,)), seed=seed)


def gates(
    space: Space,
    *,
    fitting: Fitting | None = None,
    features: Features | None = None,
    input_shape: Shape = IMAGE,
    seed: int = 0,
) -> NeuralPredictor:
    """GATES: on the edges of the cells of a cell space, on the nodes of the network of any other."""
    view = _cells(space)
    if view is None:
        return gates_on_node(space, fitting=fitting, features=features, input_shape=input_shape, seed=seed)
    return NeuralPredictor(
        EdgeCells(view),
        lambda: GatesOnEdge(len(view.kinds), view.cells),
        fitting or Fitting(),
        features=features,
        seed=seed,
    )


def gates_on_node(
    space: Space,
    *,
    fitting: Fitting | None = None,
    features: Features | None = None,
    input_shape: Shape = IMAGE,
    seed: int = 0,
) -> NeuralPredictor:
    """GATES with operations on nodes: of what the cells compute (`function_graph`), or of the traced network."""
    encoding, kinds, sizes, deep = _nodes(space, input_shape)
    return NeuralPredictor(
        encoding,
        lambda: GatesOnNode(kinds, sizes=sizes, readout="mean" if deep else "output"),
        fitting or Fitting(),
        features=features,
        seed=seed,
    )


def gin(space: Space, *, fitting: Fitting | None = None, input_shape: Shape = IMAGE, seed: int = 0) -> NeuralPredictor:
    """NPENAS' graph isomorphism network."""
    return _graph_network(GIN, space, fitting or Fitting(hidden=(16,), lr=5e-3, dropout=0.0), input_shape, seed)


def gcn(space: Space, *, fitting: Fitting | None = None, input_shape: Shape = IMAGE, seed: int = 0) -> NeuralPredictor:
    """A graph convolutional network along the flow and against it."""
    return _graph_network(GCN, space, fitting or Fitting(hidden=(128,)), input_shape, seed)


def ways(space: Space, *, input_shape: Shape = IMAGE) -> Features:
    """What lies on the ways through the cells, or through the traced network."""
    if view := _cells(space):
        return Ways(CellGraphs(view).graphs, view.kinds[1:])
    children = trace.child_graphs(space, input_shape)
    return Ways(lambda architecture: (children.plain(architecture),), trace.KINDS[2:])


def predictor(name: str, space: Space, *, seed: int = 0) -> Predictor:
    """A predictor by its name in `PREDICTORS`.

    Raises:
        OptionError: there is none of that name, or what it needs is not installed.
    """
    if name not in PREDICTORS:
        raise OptionError(f"there is no predictor '{name}' ({', '.join(PREDICTORS)}){did_you_mean(name, PREDICTORS)}")
    return PREDICTORS[name](space, seed)


def _cells(space: Space) -> CellView | None:
    try:
        return cells_of(space)
    except SpaceError:
        return None


def _nodes(space: Space, input_shape: Shape) -> tuple[Encoding, int, int, bool]:
    """Graphs with operations on nodes; how many kinds and sizes; whether they are deeper than encoders are."""
    if view := _cells(space):
        cells = CellGraphs(view)
        return cells, len(cells.index), 0, view.cells > 1
    return trace.child_graphs(space, input_shape), trace.COUNT, len(trace.SIZES), True


def _graph_network(
    network: Callable[..., Encoder], space: Space, fitting: Fitting, input_shape: Shape, seed: int
) -> NeuralPredictor:
    encoding, kinds, sizes, _ = _nodes(space, input_shape)
    return NeuralPredictor(encoding, lambda: network(kinds, sizes=sizes), fitting, seed=seed)


def _named(make: Callable[..., Any]) -> Factory:
    return lambda space, seed: make(space, seed=seed)


PREDICTORS: dict[str, Factory] = {
    "mlp": _named(perceptron),
    "lstm": _named(lstm),
    "gin": _named(gin),
    "gcn": _named(gcn),
    "gates": _named(gates),
    "gates_on_node": _named(gates_on_node),
    "nao": _named(EncoderPredictorDecoder),
    "ridge": lambda space, seed: ridge(OneHot(space), seed=seed),
    "svr": lambda space, seed: support_vectors(OneHot(space), seed=seed),
    "forest": lambda space, seed: Forest(OneHot(space), seed=seed),
    "boosted": lambda space, seed: boosted_trees(OneHot(space), seed=seed),
    "gp": lambda space, seed: GaussianProcess(OneHot(space), seed=seed),
    "joint_gp": lambda space, seed: GaussianProcess(Remembered(Joined((ways(space), OneHot(space)))), seed=seed),
    "ways_gp": lambda space, seed: GaussianProcess(ways(space), seed=seed),
    "gates_ensemble": lambda space, seed: Ensemble(lambda own: gates(space, seed=own), seed=seed),
}
"""What any space can be predicted with, by name."""
