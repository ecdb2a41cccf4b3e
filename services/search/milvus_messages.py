"""Our types to Milvus's messages and back; nothing here calls anything."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from searchmesh_common import packed_floats
from searchmesh_common.errors import FailedPrecondition, InvalidRequest
from searchmesh_search.engine import (
    MAX_STRING_BYTES,
    CollectionSchema,
    DeclaredField,
    EngineHit,
    FieldType,
    FoundRow,
    Index,
    Lexical,
    Metric,
    Row,
    VectorKind,
)
from searchmesh_search.indexes import with_defaults
from searchmesh_search.milvus_columns import COLUMNS, Column, presence_column, value_column
from searchmesh_search.milvus_filters import Expression, every
from searchmesh_search.milvus_keys import quote_key, unquote_key
from searchmesh_search.milvus_stubs import common, milvus, schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MAX_KEY_BYTES = 1024
_VECTOR = "vector"
_TEXT = "words"
_TERMS = "terms"
_BM25 = "BM25"

_METRICS = {
    Metric.COSINE: "COSINE",
    Metric.INNER_PRODUCT: "IP",
    Metric.EUCLIDEAN: "L2",
    Metric.JACCARD: "JACCARD",
    Metric.HAMMING: "HAMMING",
}
_BUILD_PARAMETERS = {"nlist": "nlist", "m": "M", "ef_construction": "efConstruction"}
"""What an index takes when it is built, by our names; it ignores a name that it does not know."""
_SEARCH_PARAMETERS = {"nprobe": "nprobe", "ef": "ef"}
"""And at each search."""

NEWEST = 2**64 - 1
"""A timestamp for a read that must see everything written before it."""

ANYTHING = 0
"""A timestamp for a read that takes what there is."""

_TYPES = schema.DataType
_TERMS_OF_TEXT = schema.FunctionSchema(
    name=_TERMS,
    type=schema.FunctionType.BM25,
    input_field_names=[_TEXT],
    output_field_names=[_TERMS],
)
_STRONG = common.ConsistencyLevel.Strong
_BOUNDED = common.ConsistencyLevel.Bounded
_CUSTOMIZED = common.ConsistencyLevel.Customized
_BOUNDED_TIMESTAMP = 2


def create_collection(physical: str, described: CollectionSchema) -> Any:
    """The whole schema goes along as the description: it is what a collection is known by."""
    vector_type = _TYPES.FloatVector if described.kind is VectorKind.FLOAT else _TYPES.BinaryVector
    columns = [
        _field("pk", _TYPES.VarChar, max_length=_MAX_KEY_BYTES, is_primary_key=True),
        _field("document_id", _TYPES.VarChar, max_length=_MAX_KEY_BYTES),
        _field("generation", _TYPES.Int64),
        _field("segment", _TYPES.Int32),
        _field(_VECTOR, vector_type, dim=described.dimension),
    ]
    for declared in described.fields:
        columns.append(_value_field(declared))
        columns.append(_field(presence_column(declared), _TYPES.Bool))
    functions = []
    if described.lexical is not None:
        columns += _lexical_fields(described.lexical)
        functions.append(_TERMS_OF_TEXT)
    message = schema.CollectionSchema(
        name=physical,
        description=_schema_to_json(described),
        fields=columns,
        functions=functions,
    )
    return milvus.CreateCollectionRequest(
        collection_name=physical,
        schema=message.SerializeToString(),
        consistency_level=_BOUNDED,
    )


def create_index(physical: str, described: CollectionSchema) -> Any:
    index = described.index
    prefix = "BIN_" if described.kind is VectorKind.BINARY else ""
    return milvus.CreateIndexRequest(
        collection_name=physical,
        field_name=_VECTOR,
        index_name=_VECTOR,
        extra_params=_pairs(
            index_type=prefix + index.type,
            metric_type=_METRICS[described.metric],
            params=json.dumps(_renamed(index, _BUILD_PARAMETERS)),
        ),
    )


def create_terms_index(physical: str, lexical: Lexical) -> Any:
    """The index that is searched by words."""
    return milvus.CreateIndexRequest(
        collection_name=physical,
        field_name=_TERMS,
        index_name=_TERMS,
        extra_params=_pairs(
            index_type="SPARSE_INVERTED_INDEX",
            metric_type=_BM25,
            params=json.dumps({"bm25_k1": lexical.k1, "bm25_b": lexical.b}),
        ),
    )


def schema_of(description: Any, physical: str) -> CollectionSchema:
    """Of the answer to DescribeCollection.

    Raises FailedPrecondition, reason FOREIGN_COLLECTION, for one that this service did not make.
    """
    try:
        plain = json.loads(description.schema.description)
        return CollectionSchema(
            dimension=plain["dimension"],
            metric=Metric(plain["metric"]),
            kind=VectorKind(plain["kind"]),
            fields=tuple(DeclaredField(name, FieldType(type_)) for name, type_ in plain["fields"]),
            index=Index(plain["index"], plain["parameters"]),
            lexical=Lexical(**plain["lexical"]) if "lexical" in plain else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FailedPrecondition(
            "FOREIGN_COLLECTION",
            f"the engine's collection {physical!r} was not made by this service",
            {"collection": physical},
        ) from error


def same_schema(one: CollectionSchema, other: CollectionSchema) -> bool:
    """Whether two collections are alike; sequences and mappings compare by what they hold."""
    return _schema_to_json(one) == _schema_to_json(other)


def upsert(physical: str, described: CollectionSchema, rows: Sequence[Row]) -> Any:
    """rows: keys and vectors of the schema's shape, no key twice.

    Raises InvalidRequest for a value that its field cannot hold.
    """
    return milvus.UpsertRequest(
        collection_name=physical,
        num_rows=len(rows),
        fields_data=[
            _strings("pk", [quote_key(row.key) for row in rows]),
            _strings("document_id", [row.document_id for row in rows]),
            _scalars("generation", COLUMNS[FieldType.INT64], [row.generation for row in rows]),
            schema.FieldData(
                field_name="segment",
                type=_TYPES.Int32,
                scalars=schema.ScalarField(
                    int_data=schema.IntArray(data=[row.segment for row in rows])
                ),
            ),
            _vectors(described, np.stack([row.vector for row in rows])),
            *_declared(described.fields, rows),
            *_texts(described, rows),
        ],
    )


def delete(physical: str, keys: Iterable[str]) -> Any:
    return milvus.DeleteRequest(collection_name=physical, expr=_among(keys))


def fetch(physical: str, keys: Iterable[str], timestamp: int) -> Any:
    """Asks for the vectors of keys. timestamp: as for `search`."""
    return _query(physical, _among(keys), ["pk", _VECTOR], timestamp)


def fetch_values(
    physical: str, keys: Iterable[str], declared: DeclaredField, timestamp: int
) -> Any:
    """Asks for a field of keys. timestamp: as for `search`."""
    columns = ["pk", value_column(declared), presence_column(declared)]
    return _query(physical, _among(keys), columns, timestamp)


def count(physical: str) -> Any:
    """Asks for the number of rows, as of now."""
    return _query(physical, "", ["count(*)"], NEWEST)


def nothing(physical: str, timestamp: int) -> Any:
    """Asks for a key that no row has: answered once the mutation of that timestamp is visible."""
    return _query(physical, _among([""]), ["pk"], timestamp)


def matching(
    physical: str,
    where: Expression | None,
    limit: int,
    *,
    after: str,
    keys: Sequence[str],
    declared: DeclaredField | None,
) -> Any:
    """Asks for the first rows of generations, as of now and by key; see `Engine.query`."""
    conditions = [Expression("segment == 0")]
    if after:
        conditions.append(Expression(f'pk > "{quote_key(after)}"'))
    if keys:
        conditions.append(Expression(_among(keys)))
    if where is not None:
        conditions.append(where)
    columns = ["pk"]
    if declared is not None:
        columns += [value_column(declared), presence_column(declared)]
    return _query(physical, every(conditions).text, columns, NEWEST, limit=str(limit))


def _query(
    physical: str, expression: str, columns: Sequence[str], timestamp: int, **parameters: str
) -> Any:
    return milvus.QueryRequest(
        collection_name=physical,
        expr=expression,
        output_fields=columns,
        query_params=_pairs(**parameters),
        **_consistency(timestamp),
    )


def search(
    physical: str,
    described: CollectionSchema,
    vectors: np.ndarray,
    limit: int,
    timestamp: int,
    where: Expression | None = None,
) -> Any:
    """timestamp: of the mutation that must be visible, or NEWEST, or ANYTHING."""
    is_float = described.kind is VectorKind.FLOAT
    kinds = common.PlaceholderType
    queries = common.PlaceholderValue(
        tag="$0",
        type=kinds.FloatVector if is_float else kinds.BinaryVector,
        values=[np.ascontiguousarray(vector).tobytes() for vector in vectors],
    )
    parameters = _pairs(
        anns_field=_VECTOR,
        topk=limit,
        metric_type=_METRICS[described.metric],
        params=json.dumps(_search_parameters(described.index, limit)),
        round_decimal=-1,
    )
    return _search(physical, queries, parameters, timestamp, where)


def search_words(
    physical: str, text: str, limit: int, timestamp: int, where: Expression | None
) -> Any:
    """The same by the words of a text."""
    query = common.PlaceholderValue(
        tag="$0", type=common.PlaceholderType.VarChar, values=[text.encode()]
    )
    parameters = _pairs(
        anns_field=_TERMS, topk=limit, metric_type=_BM25, params="{}", round_decimal=-1
    )
    return _search(physical, query, parameters, timestamp, where)


def _search(
    physical: str,
    queries: Any,
    parameters: Sequence[Any],
    timestamp: int,
    where: Expression | None,
) -> Any:
    group = common.PlaceholderGroup(placeholders=[queries])
    return milvus.SearchRequest(
        collection_name=physical,
        dsl="" if where is None else where.text,
        dsl_type=common.DslType.BoolExprV1,
        placeholder_group=group.SerializeToString(),
        nq=len(queries.values),
        search_params=parameters,
        **_consistency(timestamp),
    )


def _consistency(timestamp: int) -> dict[str, int]:
    if timestamp == ANYTHING:
        return {"consistency_level": _BOUNDED, "guarantee_timestamp": _BOUNDED_TIMESTAMP}
    if timestamp == NEWEST:
        return {"consistency_level": _STRONG}
    return {"consistency_level": _CUSTOMIZED, "guarantee_timestamp": timestamp}


def hits_of(response: Any, metric: Metric | None, queries: int) -> list[list[EngineHit]]:
    """Hits of each query, of the answer to Search. metric: None of a search by words."""
    results = response.results
    keys = list(results.ids.str_id.data)
    scores = _scores(metric, np.asarray(results.scores, dtype=np.float64)).tolist()
    counts = list(results.topks) or [0] * queries
    hits, start = [], 0
    for end in np.cumsum(counts).tolist():
        hits.append([_hit(*one) for one in zip(keys[start:end], scores[start:end], strict=True)])
        start = end
    return hits


def rows_of(response: Any, declared: DeclaredField | None) -> list[FoundRow]:
    """Rows, of the answer to `matching`, with the field's values where one was asked for."""
    columns = _scalar_columns(response)
    keys = _keys(columns)
    found = [key.rsplit("#", 2) for key in keys]
    values = [None] * len(keys) if declared is None else _values(columns, declared)
    return [
        FoundRow(document_id, int(generation), value)
        for (document_id, generation, _), value in zip(found, values, strict=True)
    ]


def values_of(response: Any, declared: DeclaredField) -> dict[str, str | int | float | bool | None]:
    """Values by key, of the answer to `fetch_values`."""
    columns = _scalar_columns(response)
    keys = _keys(columns)
    return dict(zip(keys, _values(columns, declared), strict=True)) if keys else {}


def _scalar_columns(response: Any) -> dict[str, Any]:
    return {column.field_name: column.scalars for column in response.fields_data}


def _keys(columns: Mapping[str, Any]) -> list[str]:
    keys = columns["pk"].string_data.data if "pk" in columns else []
    return [unquote_key(key) for key in keys]


def _values(
    columns: Mapping[str, Any], declared: DeclaredField
) -> list[str | int | float | bool | None]:
    """None where a row has none."""
    values = getattr(columns[value_column(declared)], COLUMNS[declared.type].scalars).data
    presence = columns[presence_column(declared)].bool_data.data
    return [value if is_there else None for value, is_there in zip(values, presence, strict=True)]


def vectors_of(response: Any) -> dict[str, np.ndarray]:
    """Vectors by key, of the answer to `fetch`."""
    columns = {column.field_name: column for column in response.fields_data}
    if "pk" not in columns or not columns["pk"].scalars.string_data.data:
        return {}
    keys = [unquote_key(key) for key in columns["pk"].scalars.string_data.data]
    data = columns[_VECTOR].vectors
    if data.WhichOneof("data") == "binary_vector":
        flat = np.frombuffer(data.binary_vector, dtype=np.uint8)
    else:
        flat = packed_floats.read(data.float_vector, len(data.float_vector.data))
    return dict(zip(keys, flat.reshape(len(keys), -1), strict=True))


def count_of(response: Any) -> int:
    (column,) = response.fields_data
    (rows,) = column.scalars.long_data.data
    return int(rows)


def _hit(stored_key: str, score: float) -> EngineHit:
    document_id, generation, segment = unquote_key(stored_key).rsplit("#", 2)
    return EngineHit(document_id, int(generation), int(segment), score)


def _scores(metric: Metric | None, given: np.ndarray) -> np.ndarray:
    """Milvus's own measures, turned so that higher is better.

    Its cosines leave the range by rounding (1.0000002 was seen), its L2 is the square.
    """
    match metric:
        case Metric.COSINE:
            return given.clip(-1.0, 1.0)
        case Metric.INNER_PRODUCT | None:
            return given
        case Metric.EUCLIDEAN:
            root: np.ndarray = np.sqrt(given.clip(min=0.0))
            return 0.0 - root
        case Metric.JACCARD:
            return 1.0 - given
        case Metric.HAMMING:
            return 0.0 - given


def _search_parameters(index: Index, limit: int) -> dict[str, int]:
    given = _renamed(index, _SEARCH_PARAMETERS)
    if "ef" in given:
        # HNSW cannot find more than it looks at
        given["ef"] = max(given["ef"], limit)
    return given


def _renamed(index: Index, names: Mapping[str, str]) -> dict[str, int]:
    """Those parameters of the index that are named, by Milvus's names."""
    given = with_defaults(index).parameters
    return {theirs: given[ours] for ours, theirs in names.items() if ours in given}


def _declared(fields: Sequence[DeclaredField], rows: Sequence[Row]) -> list[Any]:
    """Two columns a field: its values, and where there is one."""
    columns = []
    for declared in fields:
        values = [row.fields.get(declared.name) for row in rows]
        column = COLUMNS[declared.type]
        filled = [column.empty if value is None else value for value in values]
        if declared.type is FieldType.STRING:
            _check_strings(declared.name, filled)
        try:
            columns.append(_scalars(value_column(declared), column, filled))
        except (TypeError, ValueError) as error:
            raise InvalidRequest.of(declared.name, f"no {declared.type.value}: {error}") from error
        columns.append(
            _scalars(
                presence_column(declared),
                COLUMNS[FieldType.BOOL],
                [value is not None for value in values],
            )
        )
    return columns


def _texts(described: CollectionSchema, rows: Sequence[Row]) -> list[Any]:
    """A column of what is searched by words, where the collection is."""
    if described.lexical is None:
        return []
    return [_strings(_TEXT, [_searched(row.text) for row in rows])]


def _searched(text: str) -> str:
    """As much of a text as a column holds, in whole characters. For the embedded engine a text ends
    at U+0000, so that words behind it would not be found."""
    return text.replace("\0", " ").encode()[:MAX_STRING_BYTES].decode(errors="ignore")


def _lexical_fields(lexical: Lexical) -> list[Any]:
    """The text, and what the engine makes of its words."""
    analyzer = json.dumps({"type": lexical.analyzer})
    return [
        _field(
            _TEXT,
            _TYPES.VarChar,
            max_length=MAX_STRING_BYTES,
            enable_analyzer="true",
            analyzer_params=analyzer,
        ),
        schema.FieldSchema(
            name=_TERMS, data_type=_TYPES.SparseFloatVector, is_function_output=True
        ),
    ]


def _check_strings(name: str, values: Sequence[Any]) -> None:
    longest = max((len(str(value).encode()) for value in values), default=0)
    if longest > MAX_STRING_BYTES:
        raise InvalidRequest.of(name, f"{longest} bytes given, at most {MAX_STRING_BYTES}")


def _value_field(declared: DeclaredField) -> Any:
    name, type_ = value_column(declared), COLUMNS[declared.type].type
    if declared.type is FieldType.STRING:
        return _field(name, type_, max_length=MAX_STRING_BYTES)
    return _field(name, type_)


def _field(name: str, type_: int, *, is_primary_key: bool = False, **parameters: object) -> Any:
    return schema.FieldSchema(
        name=name,
        data_type=type_,
        is_primary_key=is_primary_key,
        type_params=_pairs(**parameters),
    )


def _pairs(**values: object) -> list[Any]:
    return [common.KeyValuePair(key=key, value=str(value)) for key, value in values.items()]


def _strings(name: str, values: list[str]) -> Any:
    return _scalars(name, COLUMNS[FieldType.STRING], values)


def _scalars(name: str, column: Column, values: Sequence[Any]) -> Any:
    data = schema.ScalarField(**{column.scalars: column.array(data=values)})
    return schema.FieldData(field_name=name, type=column.type, scalars=data)


def _vectors(described: CollectionSchema, stacked: np.ndarray) -> Any:
    if described.kind is VectorKind.FLOAT:
        type_ = _TYPES.FloatVector
        data = schema.VectorField(dim=described.dimension)
        packed_floats.write(data.float_vector, stacked)
    else:
        type_ = _TYPES.BinaryVector
        data = schema.VectorField(dim=described.dimension, binary_vector=stacked.tobytes())
    return schema.FieldData(field_name=_VECTOR, type=type_, vectors=data)


def _among(keys: Iterable[str]) -> str:
    """No character of a quoted key can end a string, so nothing is left to escape."""
    return "pk in [" + ",".join(f'"{quote_key(key)}"' for key in keys) + "]"


def _schema_to_json(described: CollectionSchema) -> str:
    plain = {
        "dimension": described.dimension,
        "metric": described.metric.value,
        "kind": described.kind.value,
        "fields": [[one.name, one.type.value] for one in described.fields],
        "index": described.index.type,
        "parameters": dict(sorted(described.index.parameters.items())),
    }
    if described.lexical is not None:
        plain["lexical"] = asdict(described.lexical)
    return json.dumps(plain)
