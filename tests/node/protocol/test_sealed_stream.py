"""The sealed stream through a relay that deletes, repeats, reorders, alters, reflects or cuts."""

import pytest

from beemesh_node.crypto import DecryptionError
from beemesh_node.protocol.errors import MalformedError, OversizeError, ReplayedError, TruncatedError
from beemesh_node.protocol.frames import FrameSealer, frame_key
from beemesh_node.protocol.sealed_stream import MAX_STREAM_DATA, FrameKind, SealedStream, StreamFrame

SECRET, REQUEST = b"k" * 32, b"request id 16 by"
LINE = StreamFrame(FrameKind.STDOUT, b"line")
END = StreamFrame(FrameKind.END)


@pytest.fixture
def asker() -> SealedStream:
    return SealedStream(SECRET, REQUEST, asker=True)


@pytest.fixture
def runner() -> SealedStream:
    return SealedStream(SECRET, REQUEST, asker=False)


def test_an_exec_session(asker: SealedStream, runner: SealedStream) -> None:
    from_asker = [StreamFrame.resize(24, 80), StreamFrame(FrameKind.STDIN, b"ls\n"), StreamFrame(FrameKind.STDIN), END]
    from_runner = [LINE, StreamFrame(FrameKind.STDERR, b"oops"), StreamFrame.exit(-9), END]
    assert [runner.open(asker.seal(frame)) for frame in from_asker] == from_asker
    assert [asker.open(runner.seal(frame)) for frame in from_runner] == from_runner
    assert from_asker[0].size() == (24, 80)
    assert from_runner[2].exit_code() == -9
    asker.close()
    runner.close()


def test_nothing_readable_passes_the_relay(runner: SealedStream) -> None:
    assert b"line" not in runner.seal(LINE)


def test_a_deleted_frame(asker: SealedStream, runner: SealedStream) -> None:
    asker.open(runner.seal(LINE))
    runner.seal(StreamFrame(FrameKind.STDOUT, b"deleted by the relay"))
    with pytest.raises(ReplayedError, match="frame 2 came where 1 was next"):
        asker.open(runner.seal(END))
    with pytest.raises(TruncatedError):
        asker.close()


def test_a_repeated_frame(asker: SealedStream, runner: SealedStream) -> None:
    frame = runner.seal(LINE)
    asker.open(frame)
    with pytest.raises(ReplayedError):
        asker.open(frame)


def test_frames_in_another_order(asker: SealedStream, runner: SealedStream) -> None:
    first, second = runner.seal(LINE), runner.seal(END)
    with pytest.raises(ReplayedError):
        asker.open(second)
    assert asker.open(first) == LINE


def test_a_stream_cut_short(asker: SealedStream, runner: SealedStream) -> None:
    with pytest.raises(TruncatedError, match="before its end"):
        asker.close()
    asker.open(runner.seal(StreamFrame.exit(0)))
    with pytest.raises(TruncatedError):
        asker.close()
    asker.open(runner.seal(END))
    asker.close()


def test_frames_after_the_end(asker: SealedStream, runner: SealedStream) -> None:
    end = runner.seal(END)
    with pytest.raises(ValueError, match="END"):
        runner.seal(LINE)
    asker.open(end)
    with pytest.raises(ReplayedError, match="after the END"):
        asker.open(end)
    asker.close()


def test_frames_reflected_to_their_sender(asker: SealedStream) -> None:
    with pytest.raises(DecryptionError):
        asker.open(asker.seal(LINE))


def test_frames_of_another_request_with_the_same_secret(asker: SealedStream) -> None:
    other = SealedStream(SECRET, b"another request.", asker=False)
    with pytest.raises(DecryptionError):
        asker.open(other.seal(LINE))


def test_an_altered_frame(asker: SealedStream, runner: SealedStream) -> None:
    frame = runner.seal(LINE)
    with pytest.raises(DecryptionError):
        asker.open(frame[:-1] + bytes([frame[-1] ^ 1]))
    assert asker.open(frame) == LINE


@pytest.mark.parametrize("plaintext", [b"", b"\x08", b"\xff data"])
def test_a_frame_of_no_known_kind(asker: SealedStream, plaintext: bytes) -> None:
    sealer = FrameSealer(frame_key(SECRET, b"stream/answer", REQUEST))
    with pytest.raises(MalformedError, match="no known kind"):
        asker.open(sealer.seal(plaintext))


def test_numbers_of_the_wrong_size() -> None:
    for frame in (StreamFrame(FrameKind.RESIZE, b"123"), StreamFrame(FrameKind.RESIZE)):
        with pytest.raises(MalformedError, match="RESIZE"):
            frame.size()
    with pytest.raises(MalformedError, match="EXIT frame with 5 bytes"):
        StreamFrame(FrameKind.EXIT, b"12345").exit_code()


def test_bounds(asker: SealedStream, runner: SealedStream) -> None:
    largest = StreamFrame(FrameKind.DATA, bytes(MAX_STREAM_DATA))
    assert asker.open(runner.seal(largest)) == largest
    with pytest.raises(OversizeError):
        runner.seal(StreamFrame(FrameKind.DATA, bytes(MAX_STREAM_DATA + 1)))
    for secret in (b"", b"k" * 31, b"k" * 33):
        with pytest.raises(MalformedError, match="stream secret"):
            SealedStream(secret, REQUEST, asker=True)
