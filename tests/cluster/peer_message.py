# SPDX-License-Identifier: MIT
"""Messages between nodes as crabcluster-protocol(7) describes them, as far as the
tests need: the frame, to send one that is damaged or from elsewhere."""

import struct
import uuid

APPEND, VOTE, READ_INDEX, TIMEOUT_NOW, REFUSED, HELLO, HELLO_REPLY = 1, 3, 5, 7, 16, 17, 18
FORWARD, ADMIN, FORM, FORM_REPLY = 19, 21, 23, 24
PATHS = {
    "/raft-append": APPEND,
    "/raft-vote": VOTE,
    "/raft-read-index": READ_INDEX,
    "/raft-timeout-now": TIMEOUT_NOW,
    "/raft-forward": FORWARD,
    "/raft-admin": ADMIN,
    "/raft-hello": HELLO,
    "/raft-form": FORM,
}
HEADER = struct.Struct(">4sBBH16s16s16sQQQQ")


def _crc_table():
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        yield n


_TABLE = list(_crc_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _bytes(text):
    return uuid.UUID(text).bytes if text else bytes(16)


def message(kind, payload=b"", cluster=None, sender=None, receiver=None, term=1, version=1,
            magic=b"CRAB", seq=1, incarnation=0, from_incarnation=77):
    """The bytes of a message whose frame is right: length, header, checksum."""
    head = HEADER.pack(magic, version, kind, 0, _bytes(cluster), _bytes(sender),
                       _bytes(receiver), incarnation, from_incarnation, term, seq)
    body = head + payload
    return body + struct.pack(">I", crc32c(body))


# Payloads that the consensus core would take from a member.
VOTE_PAYLOADS = (b"\0\x05\x64", b"\x01\x05\x64")  # real and pre-vote; last entry is 5.100
APPEND_PAYLOADS = (
    b"\0\0\0\0\0",  # a heartbeat: previous position, commit index, not full, no entries
    b"\0\0\x01\0\x01" + b"\x01\x01\x05hello",  # one command of term 1 at index 1
    b"\0\0\x01\0\x01" + b"\0\x01\x10" + b"leader of term 1",  # the first entry of a term
)


class Header:
    """What the frame of an answer says."""

    def __init__(self, data):
        (self.magic, self.version, self.kind, _, cluster, sender, receiver,
         self.to_incarnation, self.incarnation, self.term, self.seq) = HEADER.unpack_from(data)
        self.cluster, self.sender, self.receiver = (
            str(uuid.UUID(bytes=b)) for b in (cluster, sender, receiver))


def kind_of(data):
    """The type of an answer; None when it is no message."""
    if len(data) < HEADER.size + 4 or data[:4] != b"CRAB":
        return None
    return Header(data).kind
