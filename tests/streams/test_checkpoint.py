"""What a checkpoint partition says, record by record."""

import msgspec

from streams.checkpoint import (
    FORMAT,
    MANIFEST,
    Control,
    Manifest,
    Progress,
    Restored,
    StateLedger,
    block_key,
    progress_record,
)


def manifest(position: int, blocks: dict[str, int]) -> bytes:
    return msgspec.msgpack.encode(Manifest(FORMAT, "s", 4, {"t": position}, {"t": 0}, blocks))


def progress(transaction: int, position: int, *controls: Control) -> tuple[bytes, bytes]:
    return progress_record(Progress("me", transaction, {"t": position}, list(controls)))


def test_an_empty_partition_restores_nothing() -> None:
    restored = Restored()
    assert restored.manifest is None
    assert restored.progress is None
    assert restored.state("t") == {}


def test_the_newest_manifest_and_the_newest_progress_count() -> None:
    restored = Restored()
    restored.take(*progress(1, 10))
    restored.take(block_key("t", "a", 1), b"old")
    restored.take(MANIFEST, manifest(10, {"t\0a": 1}))
    restored.take(*progress(2, 20))
    restored.take(block_key("t", "a", 2), b"new")
    restored.take(MANIFEST, manifest(20, {"t\0a": 2}))
    restored.take(*progress(3, 31))
    assert restored.manifest is not None
    assert restored.manifest.positions == {"t": 20}
    assert restored.state("t") == {"a": b"new"}
    assert restored.progress is not None
    assert restored.progress.positions == {"t": 31}


def test_unchanged_blocks_are_taken_from_earlier_transactions() -> None:
    restored = Restored()
    restored.take(block_key("t", "a", 1), b"a1")
    restored.take(block_key("t", "b", 1), b"b1")
    restored.take(MANIFEST, manifest(10, {"t\0a": 1, "t\0b": 1}))
    restored.take(block_key("t", "b", 2), b"b2")
    restored.take(MANIFEST, manifest(20, {"t\0a": 1, "t\0b": 2}))
    assert restored.state("t") == {"a": b"a1", "b": b"b2"}


def test_controls_before_the_manifest_are_in_its_state() -> None:
    early, late = Control("t", 10, "idle", 5), Control("t", 10, "idle", 7)
    restored = Restored()
    restored.take(*progress(1, 10, early))
    restored.take(MANIFEST, manifest(10, {}))
    restored.take(*progress(2, 10, late))
    assert restored.controls == [late]


def test_blocks_of_other_topics_stay_apart() -> None:
    restored = Restored()
    restored.take(block_key("t", "a", 1), b"mine")
    restored.take(block_key("u", "a", 1), b"theirs")
    restored.take(MANIFEST, manifest(1, {"t\0a": 1, "u\0a": 1}))
    assert restored.state("t") == {"a": b"mine"}
    assert restored.state("u") == {"a": b"theirs"}


def test_a_new_base_is_due_when_the_deltas_have_outgrown_the_old_one() -> None:
    ledger = StateLedger()
    assert ledger.wants_base(2.0)
    ledger.written(ledger.plan({"t": {"a": b"x"}}, 1, full=True), 1 << 20, full=True)
    assert not ledger.wants_base(2.0)
    ledger.written(ledger.plan({"t": {"b": b"x"}}, 2, full=False), 4 << 20, full=False)
    assert ledger.wants_base(2.0)
    assert ledger.live == {"t\0a": 1, "t\0b": 2}


def test_who_restores_a_state_goes_on_with_changes_to_it() -> None:
    """The next base is due when it would have been for the one who wrote the state."""
    ledger = StateLedger()
    ledger.written(ledger.plan({"t": {"a": b"x"}}, 1, full=True), 1 << 20, full=True)
    live = ledger.plan({"t": {"b": b"x"}}, 2, full=False)
    said = Manifest(FORMAT, "s", 4, {}, {}, live, *ledger.sizes(2 << 20, full=False))
    ledger.written(live, 2 << 20, full=False)
    heir = StateLedger.of(said)
    assert heir == ledger
    assert not heir.wants_base(2.0)
    heir.written(heir.plan({"t": {"b": b"y"}}, 3, full=False), 2 << 20, full=False)
    assert heir.wants_base(2.0)
    assert heir.live == {"t\0a": 1, "t\0b": 3}


def test_a_manifest_of_an_earlier_version_asks_for_a_new_base() -> None:
    restored = Restored()
    restored.take(MANIFEST, msgspec.msgpack.encode([FORMAT, "s", 4, {"t": 1}, {"t": 0}, {"t\0a": 1}]))
    assert StateLedger.of(restored.manifest).wants_base(2.0)


def test_the_newest_base_begins_with_its_progress() -> None:
    log = [
        progress(1, 10), (block_key("t", "a", 1), b"a1"), (MANIFEST, manifest(10, {"t\0a": 1})),
        progress(2, 20), (block_key("t", "a", 2), b"a2"), (MANIFEST, manifest(20, {"t\0a": 2})),
        progress(3, 30), (block_key("t", "b", 3), b"b3"), (MANIFEST, manifest(30, {"t\0a": 2, "t\0b": 3})),
        progress(4, 30), (MANIFEST, manifest(30, {"t\0a": 2, "t\0b": 3})),
    ]  # fmt: skip
    restored = Restored()
    for offset, (key, value) in enumerate(log, 100):
        restored.take(key, value, offset)
    assert restored.begins == 103
    again = Restored()
    for offset, (key, value) in enumerate(log[3:], 103):
        again.take(key, value, offset)
    assert again == restored


def test_a_block_that_is_gone_leaves_the_manifest() -> None:
    ledger = StateLedger()
    ledger.written(ledger.plan({"t": {"a": b"x", "b": b"y"}}, 1, full=True), 2, full=True)
    assert ledger.plan({"t": {"a": None}}, 2, full=False) == {"t\0b": 1}
