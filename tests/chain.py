#!/usr/bin/env python3
"""Follows the ledger of a piñata from its console's lines to what its page publishes, with nothing of ours but the rule:
each line ends with SHA-256 of the hash before it and the line's own words.

Usage: chain.py START HEAD < console      (both hashes stand in /ledger.json, under "chain")
"""
import hashlib
import sys

start, head = (bytes.fromhex(digits) for digits in sys.argv[1:3])
lines = [line.rstrip("\n") for line in sys.stdin if line.startswith("piñata: ")]
at = start
for number, line in enumerate(lines, 1):
    words, _, digits = line.rpartition(" ")
    at = hashlib.sha256(at + words.encode()).digest()
    if at.hex() != digits:
        sys.exit(f"line {number} does not follow from the one before it: {line}")
if at != head:
    sys.exit(f"{len(lines)} lines follow from each other, and do not lead to {head.hex()}: the last ones are missing")
print(f"{len(lines)} lines, none missing")
