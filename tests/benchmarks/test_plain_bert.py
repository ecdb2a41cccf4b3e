"""The plain graph that ours is compared with computes the same vectors."""

from __future__ import annotations

import numpy as np
from plain_bert import plain_bert

from searchmesh_encoder.models.bert import build_bert
from searchmesh_encoder.models.card import BertShape, Precision
from searchmesh_encoder.onnx_backend import OnnxModel
from tests.models import bert_weights


def test_vectors_are_those_of_our_graph() -> None:
    weights, shape = bert_weights(), BertShape(heads=2, layer_norm_epsilon=1e-12)
    ids = np.random.default_rng(0).integers(0, 20, (3, 12))
    mask = (np.arange(12) < np.array([[12], [7], [1]])).astype(np.int64)
    plain, ours = (
        OnnxModel(graph.SerializeToString()).run({"input_ids": ids, "attention_mask": mask})
        for graph in (plain_bert(weights, shape), build_bert(weights, shape, Precision.FP32))
    )
    assert np.abs(plain - ours).max() < 1e-5
