"""State about patients in a checkpoint: nothing of it can be read without the site's keys, and nothing of it can be moved."""

from __future__ import annotations

import base64
from dataclasses import replace

import msgspec
import pytest

from schemas.clinical import ClinicalFact
from streams.checkpoint import Restored, StateLedger
from streams.config import EngineConfig, Stage
from streams.derivation import DeriveTask, Known
from streams.errors import SealedStateError
from streams.pipelines.pharma import HOSPITAL
from streams.runner import StageRunner
from streams.saving import MAX_BLOCK, StateSaver
from streams.seals import SealKeysError, Seals, unseal
from streams.transactions import Record

OLD, NEW = b"o" * 32, b"n" * 32
TOPIC, PATIENT, CODE = HOSPITAL.source, "u27savheu6a2qqmq2heiouqgf4", "http://hl7.org/fhir/sid/icd-10|I40.9"
PLACE = b"3/somewhere"


def task() -> DeriveTask:
    """A task that knows of one patient with more facts than fit in a record."""
    made = DeriveTask(HOSPITAL)
    facts = {
        str(i): ClinicalFact(id=str(i), source="h", kind="outcome", patient=PATIENT, time=i, codes=[CODE])
        for i in range(7_000)
    }
    made._patients[PATIENT] = Known(facts, {})
    return made


def saved(stage: Stage, seals: Seals | None, partition: int = 0) -> list[Record]:
    """What a worker writes of that state."""
    config = EngineConfig("app", {"bootstrap.servers": "nowhere:1"}, seals=seals)
    saver = StateSaver(config, [stage], partition, 4, StateLedger())
    runner = StageRunner(stage, partition, task(), 10, 10)
    return list(saver.records({TOPIC: runner}, 1, {TOPIC: 10}))


def restored(records: list[Record]) -> Restored:
    found = Restored()
    for record in records:
        found.take(record.key or b"", record.value or b"")
    assert not found.missing
    return found


def content(state: Restored) -> list[object]:
    again = DeriveTask(HOSPITAL)
    again.restore(state.state(TOPIC))
    return [again._patients, again._max_time]


def test_sealed_state_says_nothing_and_opens_with_the_key() -> None:
    records = saved(HOSPITAL.stage(4), Seals([NEW]))
    text = b"".join((record.key or b"") + (record.value or b"") for record in records)
    assert PATIENT.encode() not in text
    assert CODE.encode() not in text
    assert sum(len(record.value or b"") > 300_000 for record in records) > 1
    assert max(len(record.value or b"") for record in records) < MAX_BLOCK + 100
    state = restored(records)
    assert not unseal(state, 0, {TOPIC}, Seals([NEW]))
    plain = restored(saved(HOSPITAL.stage(4), None))
    assert PATIENT.encode() in b"".join(plain.blocks.values())
    assert state.blocks == plain.blocks
    assert content(state) == content(plain) == [task()._patients, task()._max_time]


def test_keys_are_replaced_by_putting_a_new_one_first() -> None:
    state = restored(saved(HOSPITAL.stage(4), Seals([OLD])))
    assert unseal(state, 0, {TOPIC}, Seals([NEW, OLD])), "what the old key sealed is sealed anew"
    assert content(state)[0] == task()._patients
    assert unseal(restored(saved(HOSPITAL.stage(4), None)), 0, {TOPIC}, Seals([NEW])), (
        "so is what was not sealed"
    )
    with pytest.raises(SealedStateError, match="which is not in TIDEWATCH_CHECKPOINT_KEYS: add it"):
        unseal(restored(saved(HOSPITAL.stage(4), Seals([OLD]))), 0, {TOPIC}, Seals([NEW]))
    with pytest.raises(SealedStateError, match="TIDEWATCH_CHECKPOINT_KEYS"):
        unseal(restored(saved(HOSPITAL.stage(4), Seals([OLD]))), 0, {TOPIC}, None)


def test_state_about_nobody_is_not_sealed() -> None:
    public = replace(HOSPITAL.stage(4), private=False)
    state = restored(saved(public, Seals([NEW])))
    assert state.blocks == restored(saved(public, None)).blocks
    assert not unseal(state, 0, set(), Seals([NEW]))


def test_blocks_can_be_neither_changed_nor_moved() -> None:
    seals = Seals([NEW])
    sealed = seals.seal(b"state", PLACE)
    assert seals.opened(sealed, PLACE) == b"state"
    assert seals.seal(b"state", PLACE) != sealed, "equal states look different"
    for wrong, place in ((sealed, b"2/somewhere"), (sealed[:-1] + bytes([sealed[-1] ^ 1]), PLACE)):
        with pytest.raises(SealedStateError, match="changed or moved"):
            seals.opened(wrong, place)
    with pytest.raises(SealedStateError, match="changed or moved"):
        unseal(restored(saved(HOSPITAL.stage(4), seals, partition=1)), 2, {TOPIC}, seals)


def test_keys_are_named_newest_first() -> None:
    new, old = (base64.b64encode(key).decode() for key in (NEW, OLD))
    seals = Seals.of(f"{new}, {old}\n")
    assert seals.opened(Seals([OLD]).seal(b"x", PLACE), PLACE) == b"x"
    assert seals.is_newest(Seals([NEW]).seal(b"x", PLACE))
    assert "nnnn" not in repr(EngineConfig("app", {}, seals=seals))
    for wrong in ("", " , ", "short", base64.b64encode(b"x" * 16).decode(), "no base64 at all!"):
        with pytest.raises(SealKeysError, match="openssl rand -base64 32"):
            Seals.of(wrong)


def test_what_is_not_sealed_is_not_taken_for_sealed() -> None:
    state = Restored(blocks={(f"{TOPIC}\0derived/a", 1): msgspec.msgpack.encode({"a": 1})})
    before = dict(state.blocks)
    assert not unseal(state, 0, {TOPIC}, None)
    assert state.blocks == before
