"""The border's traffic (JSON lines of `holdfast log`, up to a line END) as the lines that record.sh tells of."""

import json
import sys

SAME_KEPT = 6


def lines():
    for raw in sys.stdin.buffer:
        if raw.strip() == b"END":
            return
        yield json.loads(raw)
    sys.exit("recorded.py: no line END: the recording is cut")


def tail(fields):
    got = fields.get("tail", "")
    if len(got) != 2 * fields.get("tail_bytes", 0):
        sys.exit("recorded.py: a payload is cut; build holdfast anew")
    return got


def border():
    """(direction, where, bytes in hex), in the log's order."""
    for record in lines():
        if record["type"] == "event" and record["event"] == "POSTED":
            yield ">", "message", tail(record["fields"])
        elif record["type"] == "event" and record["event"] == "PACKET":
            relid = record["machine"].split("[")[1].rstrip("]")
            yield ">", f"channel {relid}", tail(record["fields"])
        for effect in record.get("effects", []):
            if effect["effect"] == "MESSAGE":
                yield "<", "message", tail(effect["fields"])
            elif effect["effect"] == "RING_SEND":
                yield "<", f"channel {effect['fields']['channel']}", tail(effect["fields"])


def kind(where, data):
    """What makes two SRBs alike; None for all else, which is kept whole."""
    packet = bytes.fromhex(data)
    payload = packet[int.from_bytes(packet[2:4], "little") * 8:]
    if where == "message" or len(payload) < 64 or payload[0] != 3:
        return None
    # CDB operation, direction, and if the data starts in the middle of a page or needs several.
    pages = int.from_bytes(packet[2:4], "little") - 4
    return payload[28], payload[22], min(pages, 2), packet[28:32] != bytes(4)


def main():
    seen, dropped = {}, set()
    for direction, where, data in border():
        transaction = (where, data[16:32])
        if direction == ">":
            alike = kind(where, data)
            if alike:
                seen[alike] = seen.get(alike, 0) + 1
                if seen[alike] > SAME_KEPT:
                    dropped.add(transaction)
                    continue
            dropped.discard(transaction)
        elif where != "message" and transaction in dropped:
            continue
        print(direction, where, data)


main()
